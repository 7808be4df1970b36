"""The one Redis client of a process."""

from functools import cache
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError
from redis.retry import Retry

#: What a caller that can do without Redis for the moment catches.
RedisAway = (redis.ConnectionError, redis.TimeoutError, OutOfMemoryError, redis.ReadOnlyError)


@cache
def client() -> Any:
    """A pooled client with short timeouts: a request never hangs on a Redis that is away.

    Untyped, because redis-py's annotations join bytes and str, answers and None, in every union.
    """
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=5,
        socket_connect_timeout=2,
        health_check_interval=10,
        # One immediate second try: a pooled connection may have died with the last server.
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[redis.ConnectionError],
    )
