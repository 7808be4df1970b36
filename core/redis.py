"""The one Redis client of a process."""

from collections.abc import Callable
from functools import cache
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.connection import DefaultParser
from redis.exceptions import OutOfMemoryError
from redis.retry import Retry

from core.circuit_breaker import CircuitBreaker


class NoWritesError(redis.ResponseError):
    """Redis takes no writes: its disk is full, or it has too few replicas."""


DefaultParser.EXCEPTION_CLASSES |= {"MISCONF": NoWritesError, "NOREPLICAS": NoWritesError}

#: The errors of a Redis that is unavailable or cannot write, for callers that can do without it.
RedisUnavailable = (redis.ConnectionError, redis.TimeoutError, OutOfMemoryError, redis.ReadOnlyError, NoWritesError)

#: How long (seconds) a command may take.
ANSWER_SECONDS = 3


class BoundedRetry(Retry):
    """Retry once at once: a pooled connection may have died with the last server. A silent server is left alone."""

    def __init__(self) -> None:
        super().__init__(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))

    def call_with_retry(self, do: Callable[[], Any], *args: Any, **options: Any) -> Any:
        """Call; raises ConnectionError at once while the server is known to be silent."""
        if breaker.is_open:
            raise redis.ConnectionError("Redis does not answer.")
        try:
            return super().call_with_retry(do, *args, **options)
        except redis.TimeoutError:
            breaker.open()
            raise


@cache
def client() -> redis.Redis:
    """Return the pooled client, with short timeouts: no request hangs on a Redis that is unavailable."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=2,
        health_check_interval=10,
        retry=BoundedRetry(),
    )


def _probe() -> bool:
    """Tell whether a new connection gets an answer, or any error, in time."""
    options = {"socket_timeout": 1, "socket_connect_timeout": 1, "retry": Retry(NoBackoff(), 0)}
    with redis.Redis.from_url(settings.REDIS_URL, **options) as raw:
        try:
            raw.ping()
        except redis.TimeoutError:
            return False
        except redis.RedisError:
            return True
    return True


breaker = CircuitBreaker("Redis", probe=_probe)
