"""The one Redis client of a process."""

import os
import socket
import struct
import threading
from functools import cache
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.connection import DefaultParser
from redis.exceptions import OutOfMemoryError
from redis.retry import Retry


class NoWritesError(redis.ResponseError):
    """Redis takes no writes: it cannot keep them on its disk, or with as many replicas as it should."""


DefaultParser.EXCEPTION_CLASSES |= {"MISCONF": NoWritesError, "NOREPLICAS": NoWritesError}

#: What a caller that can do without Redis for the moment catches.
RedisAway = (redis.ConnectionError, redis.TimeoutError, OutOfMemoryError, redis.ReadOnlyError, NoWritesError)

_SECONDS = 5


@cache
def client() -> Any:
    """A pooled client with short timeouts: a request never hangs on a Redis that is away.

    Untyped, because redis-py's annotations join bytes and str, answers and None, in every union.
    """
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=_SECONDS,
        socket_connect_timeout=2,
        health_check_interval=10,
        # One immediate second try: a pooled connection may have died with the last server.
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[redis.ConnectionError],
    )


class _Own(threading.local):
    """A thread's own connection, and the pool it came from."""

    connection: Any = None
    pool: Any = None

    def taken(self) -> Any:
        """The connection; another one after a fork, or when the pool is another."""
        pool = client().connection_pool
        if self.pool is not pool or self.connection.pid != os.getpid():
            self.pool, self.connection = pool, pool.make_connection()
        return self.connection


_own = _Own()


def ask(*commands: tuple[Any, ...]) -> list[Any]:
    """The answers to some commands in one round trip; they may be sent twice when the connection breaks.

    What redis-py's own methods and pipelines do, for half the price: taking a connection out of the pool and looking
    whether it still lives costs as much as the trip, so each thread keeps one, and learns of its death by using it.
    """
    connection = _own.taken()
    packed = connection.pack_commands(commands)
    return list(
        connection.retry.call_with_retry(
            lambda: _exchange(connection, packed, count=len(commands)), lambda _error: connection.disconnect()
        )
    )


def _exchange(connection: Any, packed: list[bytes], *, count: int) -> list[Any]:
    if not connection.is_connected:
        connection.connect()
        _leave_waiting_to_the_kernel(connection._get_socket())
    connection.send_packed_command(packed)
    try:
        return [connection.read_response() for _ in range(count)]
    except redis.ResponseError:
        # The answers behind it would be taken for the next caller's.
        connection.disconnect()
        raise


def _leave_waiting_to_the_kernel(connected: socket.socket) -> None:
    """The same time limit, kept by the kernel.

    Python keeps one by polling before each call, and gives the interpreter to another thread each time: with four
    threads an answer costs 59 µs of processor time instead of 44.
    """
    if type(connected) is not socket.socket:
        return  # TLS reads as often as it likes.
    limit = struct.pack("ll", _SECONDS, 0)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    connected.settimeout(None)
