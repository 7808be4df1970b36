"""The access log: one line for each request."""

import logging
import time
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.core.exceptions import MiddlewareNotUsed
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import SimpleLazyObject

from core.users import client_address
from titanic_site.logging import without_token

logger = logging.getLogger(__name__)

#: Requested every few seconds by programs that see themselves what is answered.
_UNLOGGED = frozenset({"/healthz", "/readyz", "/metrics"})
_LONGEST_PATH = 500


def access_log(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Log method, path, status, duration until the answer begins, user and address; never the query: a middleware."""
    if not settings.ACCESS_LOG:
        raise MiddlewareNotUsed

    def middleware(request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        response = get_response(request)
        if request.path_info not in _UNLOGGED:
            fields = {
                "method": request.method,
                "path": without_token(request.path)[:_LONGEST_PATH],
                "status": response.status_code,
                "duration_ms": round(1000 * (time.perf_counter() - began), 1),
                "user": _user_id(request),
                "address": client_address(request),
            }
            logger.info(
                "%(method)s %(path)s %(status)s %(duration_ms)s ms, user %(user)s, %(address)s", fields, extra=fields
            )
        return response

    return middleware


def _user_id(request: HttpRequest) -> str | None:
    """Return the user's number where the answer took a look at the user: the log does not look it up itself."""
    user, session = getattr(request, "user", None), getattr(request, "session", None)
    if user is not None and type(user) is not SimpleLazyObject:
        # Of a token.
        return str(user.pk) if user.pk else None
    if session is None or not session.accessed:
        return None
    try:
        return str(session.get(SESSION_KEY, "")) or None
    except (DatabaseError, InterfaceError):
        return None
