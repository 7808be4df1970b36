"""The one Redis client of a process."""

from functools import cache
from typing import Any

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
def client() -> Any:
    """Return the pooled client, with short timeouts: no request hangs on a Redis that is unavailable.

    Untyped, because redis-py's annotations join bytes and str, answers and None, in every union.
    """
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=5,
        socket_connect_timeout=2,
        health_check_interval=10,
        # One immediate retry: a pooled connection may have died with the last server.
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[redis.ConnectionError],
    )


def execute(*commands: tuple[Any, ...]) -> list[Any]:
    """Send some commands in one round trip and return their answers; a broken connection may send them twice."""
    with client().pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        return list(pipeline.execute())
