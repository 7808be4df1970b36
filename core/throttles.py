"""How often somebody may ask: counted in Redis, for all processes together."""

import logging
import math
import time
from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpRequest
from limits import RateLimitItem, parse
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from core import redis
from core.errors import Throttled
from core.tokens import Scope

if TYPE_CHECKING:
    # It names the throttle in its turn.
    from rest_framework.views import APIView

logger = logging.getLogger(__name__)

_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day"}


class TokenThrottle(BaseThrottle):
    """THROTTLE_PREDICT: how often one token may ask for predictions, or whatever else a view has `is_counted`."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Raises TooMany."""
        is_asked = request.method == "POST" and getattr(view, "scope", None) == Scope.PREDICT
        if request.auth is not None and (is_asked or getattr(view, "is_counted", False)):
            throttle(settings.ENV.throttle_predict, str(request.auth.pk))
        return True


def throttle_ip(request: HttpRequest | Request) -> None:
    """THROTTLE_ANON: how often one address may ask without a valid token, guess one, send the form, or ask why.

    Raises TooMany. The address is the connection's: what a header says of it, anybody can write.
    """
    throttle(settings.ENV.throttle_anon, str(request.META.get("REMOTE_ADDR", "")))


def throttle_anonymous(request: HttpRequest) -> None:
    """The same on a page, of whoever is not signed in; raises TooMany."""
    # Without a limit nobody asks the database who it is: the form answers while that is away.
    if settings.ENV.throttle_anon and not request.user.is_authenticated:
        throttle_ip(request)


def throttle(rate: str | None, who: str) -> None:
    """Count one more of somebody; raises TooMany beyond the rate. Redis away: everybody is let through."""
    if rate is None:
        return
    limit = _limit(rate)
    try:
        limiter = _limiter()
        if limiter.hit(limit, who):
            return
        reset = limiter.get_window_stats(limit, who).reset_time
    except RedisError as error:
        logger.warning("cannot count how often %s asks: %s", who[:12], error)
        return
    raise Throttled(retry_after=max(math.ceil(reset - time.time()), 1))


@cache
def _limit(rate: str) -> RateLimitItem:
    count, unit = rate.split("/")
    return parse(f"{count}/{_UNITS[unit[0]]}")


@cache
def _limiter() -> MovingWindowRateLimiter:
    pool = redis.client().connection_pool
    return MovingWindowRateLimiter(RedisStorage("redis://", connection_pool=pool, key_prefix="throttle"))
