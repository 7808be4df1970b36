"""The last consistency check: whether every channel gives the model's own answer."""

from datetime import datetime
from typing import NamedTuple

import msgspec
from django.utils import timezone
from django.utils.translation import gettext as _

from core import redis
from core.errors import TitanicError
from predictions import consistency
from predictions.models import Channel

_KEY = "monitoring:consistency"


class ChannelResult(NamedTuple):
    """One channel by its label, whether its answers are the model's own, and why it gave none."""

    label: str
    is_consistent: bool
    error: str


class ConsistencyCheck(msgspec.Struct, frozen=True):
    """When the channels were compared, with which model, which of them agreed, and what kept the check from running."""

    at: datetime
    model_version: int | None = None
    #: Channel -> whether its answers are the model's own.
    channels: dict[str, bool] = {}
    error: str = ""
    #: Channel -> why it gave no answer.
    channel_errors: dict[str, str] = {}

    @property
    def is_passed(self) -> bool:
        return not self.error and all(self.channels.values())

    @property
    def results(self) -> list[ChannelResult]:
        return [
            ChannelResult(str(Channel(name).label), is_consistent, self.channel_errors.get(name, ""))
            for name, is_consistent in self.channels.items()
        ]


def run() -> ConsistencyCheck:
    """Compare the channels and keep the result."""
    # Kept when a channel breaks: the result before must not stand as if it were still so.
    check = ConsistencyCheck(
        timezone.now(), error=_("The consistency check stopped with an error: the worker's log names the channel.")
    )
    try:
        report = consistency.compare()
        check = ConsistencyCheck(timezone.now(), report.model_version, report.agreements, channel_errors=report.errors)
    except TitanicError as error:
        check = ConsistencyCheck(timezone.now(), error=error.message)
    finally:
        redis.client().set(_KEY, msgspec.json.encode(check))
    return check


def last() -> ConsistencyCheck | None:
    """Return the last check; None before the first. Raises RedisError."""
    encoded = redis.client().get(_KEY)
    return None if encoded is None else msgspec.json.decode(encoded, type=ConsistencyCheck)
