"""Heartbeats of the queues: they show that a worker takes messages, which a live process does not."""

import time
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from core import redis

#: A queue without a heartbeat for this many seconds is reported, and `up` restarts its worker.
SILENCE_LIMIT = 90
#: Of hosts that are gone nothing stays.
_KEPT_SECONDS = 86_400


def beat(queue: str) -> None:
    """Record that a worker of the queue is alive now."""
    redis.client().set(f"heartbeat:{queue}", repr(time.time()), ex=_KEPT_SECONDS)


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
