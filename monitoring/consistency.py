"""The last consistency check: whether every channel gives the model's own answer."""

from datetime import datetime

import msgspec
from django.utils import timezone

from core import redis
from core.errors import TitanicError
from core.messages import Message
from predictions import consistency
from predictions.consistency import ChannelResult

_KEY = "monitoring:consistency"


class ConsistencyCheck(msgspec.Struct, frozen=True):
    """When the channels were compared, with which model, which of them agreed, and what kept the check from running."""

    at: datetime
    model_version: int | None = None
    results: list[ChannelResult] = []
    error: Message | str = ""

    @property
    def is_passed(self) -> bool:
        return not self.error and all(result.is_consistent for result in self.results)


def run() -> ConsistencyCheck:
    """Compare the channels and keep the result."""
    # Stored when a channel raises an error: the check before would be taken for the present state.
    check = ConsistencyCheck(
        timezone.now(),
        error=Message("The consistency check stopped with an error: the worker's log names the channel."),
    )
    try:
        model_version, results = consistency.compare()
        check = ConsistencyCheck(timezone.now(), model_version, results)
    except TitanicError as error:
        check = ConsistencyCheck(timezone.now(), error=error.message)
    finally:
        redis.client().set(_KEY, msgspec.json.encode(check))
    return check


def last() -> ConsistencyCheck | None:
    """Return the last check; None before the first. Raises RedisError."""
    encoded = redis.client().get(_KEY)
    return None if encoded is None else msgspec.json.decode(encoded, type=ConsistencyCheck)
