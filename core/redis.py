"""The one Redis client of a process."""

from functools import cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.connection import DefaultParser
from redis.exceptions import OutOfMemoryError
from redis.retry import Retry


class NoWritesError(redis.ResponseError):
    """Redis takes no writes: its disk is full, or it has too few replicas."""


DefaultParser.EXCEPTION_CLASSES |= {"MISCONF": NoWritesError, "NOREPLICAS": NoWritesError}

#: The errors of a Redis that is unavailable or cannot write, for callers that can do without it.
RedisUnavailable = (redis.ConnectionError, redis.TimeoutError, OutOfMemoryError, redis.ReadOnlyError, NoWritesError)


@cache
def client() -> redis.Redis:
    """Return the pooled client, with short timeouts: no request hangs on a Redis that is unavailable."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=5,
        socket_connect_timeout=2,
        health_check_interval=10,
        # One immediate retry: a pooled connection may have died with the last server.
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[redis.ConnectionError],
    )
