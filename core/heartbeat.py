"""Heartbeats of the queues: they show that a worker takes messages, which a live process does not."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.conf import settings

from core import redis

#: A queue without a heartbeat for this many seconds is reported, and `up` restarts its worker.
SILENCE_LIMIT = 90
#: Of hosts that are gone nothing stays.
_KEPT_SECONDS = 86_400
_BEAT_SECONDS = 5.0


def beat(queue: str) -> None:
    """Record that a worker of the queue is alive now."""
    redis.client().set(f"heartbeat:{queue}", repr(time.time()), ex=_KEPT_SECONDS)


@contextmanager
def kept_up(queues: Iterable[str]) -> Iterator[None]:
    """Send the heartbeats of a worker's queues while the body computes: it takes no other task meanwhile."""
    is_over = threading.Event()

    def beat_on() -> None:
        while not is_over.wait(_BEAT_SECONDS):
            with suppress(*redis.RedisUnavailable):
                for queue in queues:
                    beat(queue)

    thread = threading.Thread(target=beat_on, name="heartbeats", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def ages(*queues: str) -> dict[str, float | None]:
    """Return the seconds since the last heartbeat of each of these queues, or of all; None where there was none."""
    names = queues or tuple(settings.QUEUES)
    now = time.time()
    times = redis.client().mget([f"heartbeat:{name}" for name in names])
    return {name: None if at is None else now - float(at) for name, at in zip(names, times, strict=True)}


def silent_queues(*queues: str) -> list[str]:
    """Return those of these queues, or of all, that have no recent heartbeat."""
    return [queue for queue, age in ages(*queues).items() if age is None or age > SILENCE_LIMIT]


def touch_file() -> None:
    """Show the health check of this container that its process goes on."""
    if settings.HEARTBEAT_PATH:
        # A full disk ends no work.
        with suppress(OSError):
            Path(settings.HEARTBEAT_PATH).touch()
