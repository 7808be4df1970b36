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


def ask(*commands: tuple[Any, ...]) -> list[Any]:
    """The answers to several reading commands in one round trip.

    What a pipeline does, without its price: for two commands it costs a third of the round trip.
    """
    pool = client().connection_pool
    connection = pool.get_connection()
    packed = connection.pack_commands(commands)
    try:
        return list(
            connection.retry.call_with_retry(
                lambda: _exchange(connection, packed, count=len(commands)), lambda _error: connection.disconnect()
            )
        )
    finally:
        pool.release(connection)


def _exchange(connection: Any, packed: list[bytes], *, count: int) -> list[Any]:
    connection.send_packed_command(packed)
    try:
        return [connection.read_response() for _ in range(count)]
    except redis.ResponseError:
        # The answers behind it would be taken for the next caller's.
        connection.disconnect()
        raise
