"""Who may call the API: tokens, what each is good for, and a memory of those seen a moment ago."""

import hashlib
import logging
import time
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

from django.conf import settings
from django.contrib.auth.models import User
from django.db import DatabaseError, InterfaceError, models
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from knox.auth import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

if TYPE_CHECKING:
    from rest_framework.views import APIView

logger = logging.getLogger(__name__)

#: For how long (seconds) a process takes a token as it last found it: so late a revocation is honoured.
CACHE_SECONDS = 2.0
#: The same while Postgres is away, when nobody can revoke one either; who did just before is not heard of so long.
CACHE_SECONDS_WITHOUT_DATABASE = 300.0
_MAX_CACHED = 1_000
_WARNING_SECONDS = 1.0


class Scope(models.TextChoices):
    """What a token is good for; looking is allowed to each."""

    PREDICT = "predict", gettext_lazy("Predict: ask, score files, record outcomes")
    OPERATE = "operate", gettext_lazy("Operate: load, build, train, promote, check")


class HasScope(BasePermission):
    """A token, and for what changes something one of the view's `scope`; operating when the view names none."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        token: Any = request.auth
        if token is None:
            return bool(settings.ENV.api_allow_anonymous)
        needed = getattr(view, "scope", Scope.OPERATE)
        if request.method in SAFE_METHODS or token.allows(needed):
            return True
        raise PermissionDenied(
            _("This token is not made for this: it needs the scope “%(scope)s”.") % {"scope": needed}
        )


class _CachedToken(NamedTuple):
    """A token that was good, and when (monotonic seconds) that was found."""

    user: User
    token: Any
    at: float


def _key(header: str) -> bytes:
    """Under which the token of an Authorization header is remembered: one key for a token, however it is written."""
    match header.split():
        case [prefix, token] if prefix.lower() == "token":
            return hashlib.sha256(token.encode()).digest()
    return b""


class CachedTokenAuthentication(TokenAuthentication):  # type: ignore[misc]
    """knox's tokens; one seen a moment ago costs no query."""

    _warned_at: ClassVar[float] = -inf

    def authenticate(self, request: Request) -> tuple[User, Any] | None:
        """Who asks; None for nobody. An address that has no valid token is counted."""
        key, now = _key(request.META.get("HTTP_AUTHORIZATION", "")), time.monotonic()
        seen = _memory.get(key)
        if seen is not None and seen.token.expiry is not None and seen.token.expiry < timezone.now():
            seen = None
        if seen is None or now - seen.at > CACHE_SECONDS:
            seen = self._look_up(request, key, seen=seen, now=now)
        return seen and (seen.user, seen.token)

    def authenticate_credentials(self, token: bytes) -> tuple[User, Any]:
        """The token's user and row; raises AuthenticationFailed."""
        if not token.isalnum():
            raise AuthenticationFailed(_("Invalid token."))
        user, found = super().authenticate_credentials(token)
        return cast("User", user), found

    def _look_up(self, request: Request, key: bytes, *, seen: _CachedToken | None, now: float) -> _CachedToken | None:
        from core import throttles

        try:
            found = super().authenticate(request)
        except AuthenticationFailed:
            _memory.pop(key, None)
            throttles.throttle_ip(request)
            raise
        except (DatabaseError, InterfaceError) as error:
            if seen is None or now - seen.at > CACHE_SECONDS_WITHOUT_DATABASE:
                raise
            self._warn(error, now)
            return seen
        if found is None:
            throttles.throttle_ip(request)
            return None
        if len(_memory) >= _MAX_CACHED:
            _memory.clear()
        user, token = found
        _memory[key] = seen = _CachedToken(user, token, now)
        return seen

    def _warn(self, error: Exception, now: float) -> None:
        # Every request of a busy process comes by here while Postgres is away, and the driver says it in many lines.
        if now - type(self)._warned_at >= _WARNING_SECONDS:
            type(self)._warned_at = now
            logger.warning("cannot look tokens up, taking them as they were: %s", " ".join(str(error).split()))


_memory: dict[bytes, _CachedToken] = {}
clear_cache = _memory.clear
