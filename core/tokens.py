"""API tokens: authentication with a short cache, what each token is good for, and its rate limit."""

import hashlib
import logging
import time
from datetime import datetime
from math import inf
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, cast

from django.conf import settings
from django.contrib.auth.models import User
from django.db import DatabaseError, InterfaceError
from django.utils import timezone
from django.utils.translation import gettext as _
from knox.auth import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from core.roles import Scope, Scopes, required_scope, scopes_of, scopes_of_request
from core.throttles import throttle, throttle_ip

if TYPE_CHECKING:
    # Its defaults name the classes below.
    from rest_framework.views import APIView

logger = logging.getLogger(__name__)

#: Seconds for which a process uses a token without looking it up: a revocation takes that long.
CACHE_SECONDS = 2.0
#: The same while PostgreSQL is unavailable, when none can be revoked either.
CACHE_SECONDS_WITHOUT_DATABASE = 300.0
_MAX_CACHED = 1_000
_WARNING_SECONDS = 1.0


class Token(Protocol):
    """A token's row; the site has its model."""

    expiry: datetime | None
    #: What it permits as far as its owner's role does, and both together.
    granted: Scopes
    scopes: Scopes


class HasScope(BasePermission):
    """Requires a token with the scope that the view requires."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        scope, scopes = required_scope(view, request.method), scopes_of_request(request)
        if not scopes and request.auth is None:
            return False
        if scope in scopes:
            return True
        raise PermissionDenied(_("This token is not made for this: it needs the scope “%(scope)s”.") % {"scope": scope})


class TokenThrottle(BaseThrottle):
    """THROTTLE_PREDICT: how often a token may request predictions, and what else a view marks `is_throttled`."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Return True, or raise Throttled."""
        is_prediction = request.method == "POST" and getattr(view, "scope", None) == Scope.PREDICT
        if request.auth is not None and (is_prediction or getattr(view, "is_throttled", False)):
            throttle(settings.THROTTLE_PREDICT, str(request.auth.pk))
        return True


class _CachedToken(NamedTuple):
    """A valid token, and when (monotonic seconds) it was looked up."""

    user: User
    token: Token
    at: float


class CachedTokenAuthentication(TokenAuthentication):  # type: ignore[misc]
    """knox's tokens; one that was looked up a moment ago costs no query."""

    _warned_at: ClassVar[float] = -inf

    def authenticate(self, request: Request) -> tuple[User, Token] | None:
        """Return user and token; None without a token. Requests without a valid one are throttled by address."""
        now = time.monotonic()
        match request.META.get("HTTP_AUTHORIZATION", "").split():
            case [prefix, token] if prefix.lower() in ("token", "bearer"):
                # One for a token, however the header writes it.
                key = hashlib.sha256(token.encode()).digest()
            case _:
                key = b""
        cached = _cache.get(key)
        if cached is not None and cached.token.expiry is not None and cached.token.expiry < timezone.now():
            cached = None
        if cached is None or now - cached.at > CACHE_SECONDS:
            cached = self._look_up(request, key, cached=cached, now=now)
        return cached and (cached.user, cached.token)

    def authenticate_header(self, request: Request) -> str:
        """Return the prefix that knox reads: that of the request, as both are known."""
        return "Bearer" if request.META.get("HTTP_AUTHORIZATION", "").lower().startswith("bearer ") else "Token"

    def authenticate_credentials(self, token: bytes) -> tuple[User, Token]:
        """Return the token's user and row; raises AuthenticationFailed."""
        if not token.isalnum():
            raise AuthenticationFailed(_("Invalid token."))
        user, row = super().authenticate_credentials(token)
        row.scopes = row.granted & scopes_of(user)
        return cast("User", user), row

    def _look_up(self, request: Request, key: bytes, *, cached: _CachedToken | None, now: float) -> _CachedToken | None:
        try:
            user_and_token = super().authenticate(request)
        except AuthenticationFailed:
            _cache.pop(key, None)
            throttle_ip(request)
            raise
        except (DatabaseError, InterfaceError) as error:
            if cached is None or now - cached.at > CACHE_SECONDS_WITHOUT_DATABASE:
                raise
            # Each request comes by here while PostgreSQL is unavailable, and the driver's text has many lines.
            if now - type(self)._warned_at >= _WARNING_SECONDS:
                type(self)._warned_at = now
                logger.warning("cannot look tokens up, using those in the cache: %s", " ".join(str(error).split()))
            return cached
        if user_and_token is None:
            throttle_ip(request)
            return None
        if len(_cache) >= _MAX_CACHED:
            _cache.clear()
        user, token = user_and_token
        _cache[key] = cached = _CachedToken(user, token, now)
        return cached


_cache: dict[bytes, _CachedToken] = {}
clear_cache = _cache.clear
