"""Proof that the workers of a queue answer; a live process proves nothing."""

import time

from django.conf import settings

from core import redis

#: A queue that has not answered for this long (seconds) is reported, and `up` restarts its worker.
SILENCE_LIMIT = 90


def beat(queue: str) -> None:
    """Note that a worker of `queue` did something just now."""
    redis.client().set(f"heartbeat:{queue}", repr(time.time()))


def ages() -> dict[str, float | None]:
    """Seconds since each queue last answered; None where it never did."""
    now = time.time()
    answers = redis.client().mget([f"heartbeat:{queue}" for queue in settings.QUEUES])
    return {queue: None if at is None else now - float(at) for queue, at in zip(settings.QUEUES, answers, strict=True)}


def silent_queues() -> list[str]:
    """The queues whose workers do not answer."""
    return [queue for queue, age in ages().items() if age is None or age > SILENCE_LIMIT]
