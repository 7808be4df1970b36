"""Heartbeats of the queues: they show that a worker takes messages, which a live process does not."""

import time
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from core import redis

#: A queue without a heartbeat for this many seconds is reported, and `up` restarts its worker.
SILENCE_LIMIT = 90


def beat(queue: str) -> None:
    """Record that a worker of the queue is alive now."""
    redis.client().set(f"heartbeat:{queue}", repr(time.time()))


def ages() -> dict[str, float | None]:
    """Return the seconds since each queue's last heartbeat; None where there was none."""
    now = time.time()
    times = redis.client().mget([f"heartbeat:{queue}" for queue in settings.QUEUES])
    return {queue: None if at is None else now - float(at) for queue, at in zip(settings.QUEUES, times, strict=True)}


def silent_queues() -> list[str]:
    """Return the queues without a recent heartbeat."""
    return [queue for queue, age in ages().items() if age is None or age > SILENCE_LIMIT]


def touch_file() -> None:
    """Show the health check of this container that its process goes on."""
    if settings.HEARTBEAT_PATH:
        # A full disk ends no work.
        with suppress(OSError):
            Path(settings.HEARTBEAT_PATH).touch()
