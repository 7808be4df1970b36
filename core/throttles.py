"""Rate limits: counted in Redis, for all processes together."""

import logging
import math
import time
from functools import cache

from django.conf import settings
from django.http import HttpRequest
from limits import RateLimitItemPerSecond
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError
from rest_framework.request import Request

from core import redis
from core.errors import Throttled
from core.roles import Scope, scopes_of
from core.users import client_address

logger = logging.getLogger(__name__)

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def throttle_ip(request: HttpRequest | Request, *, counter: str = "") -> None:
    """Count a request without a valid token, or a form's, by address (THROTTLE_ANON); raises Throttled.

    Requests of another `counter` are counted apart: what a page asks for by itself uses up no predictions.
    """
    throttle(settings.THROTTLE_ANON, f"{client_address(request)}{counter}")


def throttle_anonymous(request: HttpRequest, *, counter: str = "") -> None:
    """Count a page's request by address, unless the user's role permits predictions; raises Throttled."""
    # Without a limit the session is not looked up: the form answers while PostgreSQL is unavailable.
    if settings.THROTTLE_ANON and Scope.PREDICT not in scopes_of(request.user):
        throttle_ip(request, counter=counter)


def throttle(rate: str | None, client: str, *, factor: int = 1, is_counted: bool = True) -> None:
    """Count one more request of a client, or only look; raises Throttled beyond the rate, times the factor.

    While Redis is unavailable all pass.
    """
    if rate is None:
        return
    count, unit = rate.split("/")
    limit = RateLimitItemPerSecond(factor * int(count), _SECONDS[unit])
    try:
        limiter = _limiter()
        if limiter.hit(limit, client) if is_counted else limiter.test(limit, client):
            return
        reset_at = limiter.get_window_stats(limit, client).reset_time
    except RedisError as error:
        logger.warning("cannot count the requests of %s: %s", client[:12], error)
        return
    raise Throttled(retry_after=max(math.ceil(reset_at - time.time()), 1))


@cache
def _limiter() -> MovingWindowRateLimiter:
    pool = redis.client().connection_pool
    return MovingWindowRateLimiter(RedisStorage("redis://", connection_pool=pool, key_prefix="throttle"))
