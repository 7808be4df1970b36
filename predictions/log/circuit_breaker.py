"""A circuit breaker in front of the stream: a Redis that is unavailable costs one request a second, not all of them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

#: How long (seconds) the last check is good for.
CHECK_SECONDS = 1.0
# How long (seconds) requests go by the last check while another thread is checking. A check never takes longer.
_STALE_SECONDS = 15.0


class CircuitOpen(Exception):
    """The stream takes no entries at the moment."""


class StreamCircuitBreaker:
    """Opens for a second when the stream is full or a write failed, checked once a second by one thread.

    `find_obstacle` says why the stream takes no entries, or "".
    """

    def __init__(self, find_obstacle: Callable[[], str]) -> None:
        self._find_obstacle = find_obstacle
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Start closed and unchecked."""
        self._obstacle = ""
        self._checked_at = float("-inf")

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Write to the stream in the body; raises CircuitOpen instead of running it when the circuit is open."""
        if self._age() > CHECK_SECONDS and self._lock.acquire(blocking=self._age() > _STALE_SECONDS):
            try:
                if self._age() > CHECK_SECONDS:
                    with self._open_on_failure():
                        self._set(self._find_obstacle())
            finally:
                self._lock.release()
        if self._obstacle:
            raise CircuitOpen(self._obstacle)
        with self._open_on_failure():
            yield

    def _age(self) -> float:
        return time.monotonic() - self._checked_at

    @contextmanager
    def _open_on_failure(self) -> Iterator[None]:
        try:
            yield
        except (RedisConnectionError, RedisTimeoutError) as error:
            self._set(f"Redis was unavailable a moment ago: {error}")
            raise

    def _set(self, obstacle: str) -> None:
        self._obstacle, self._checked_at = obstacle, time.monotonic()
