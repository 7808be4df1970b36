"""Count the requests that are rejected, by channel and reason, in Redis: of the last week.

A reason is the error's code. These stand in the code, so that whatever clients send, the counts have few names.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import NamedTuple

from django.utils import timezone

from core import redis
from core.errors import Invalid
from core.redis import RedisUnavailable
from ingestion import validation_messages
from predictions.models import Channel

#: For how many days, today among them, rejections are counted.
DAYS = 7


class Rejections(NamedTuple):
    """How many requests a channel rejected for a reason; one request may have several reasons."""

    channel: Channel
    reason: str
    request_count: int

    @property
    def in_words(self) -> str:
        """The reason as people read it."""
        return validation_messages.reason(self.reason)


@contextmanager
def counted(channel: Channel) -> Iterator[None]:
    """Count the request when the body rejects it."""
    try:
        yield
    except Invalid as error:
        with suppress(*RedisUnavailable), redis.client().pipeline() as pipeline:
            key = _keys()[0]
            for reason in {code for errors in error.errors.values() for code, _message in errors}:
                pipeline.hincrby(key, f"{channel.value} {reason}")
            pipeline.expire(key, timedelta(days=DAYS))
            pipeline.execute()
        raise


def recent() -> list[Rejections]:
    """Return the rejections of the last days, the most frequent first. Raises RedisError."""
    with redis.client().pipeline() as pipeline:
        for key in _keys():
            pipeline.hgetall(key)
        days = pipeline.execute()
    counts: Counter[str] = Counter()
    for day in days:
        counts.update({name.decode(): int(count) for name, count in day.items()})
    return [
        Rejections(Channel(channel), reason, count)
        for name, count in counts.most_common()
        for channel, _, reason in [name.partition(" ")]
    ]


def _keys() -> list[str]:
    """Name the hashes of the last days, today's first."""
    today = timezone.now().date()
    return [f"predictions:rejected:{today - timedelta(days=days)}" for days in range(DAYS)]
