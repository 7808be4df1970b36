"""The last self-test: whether every door gives one answer."""

from datetime import datetime

import msgspec
from django.utils import timezone
from django.utils.translation import gettext as _

from core import redis
from core.errors import TitanicError
from predictions import consistency
from predictions.models import Channel

_KEY = "monitoring:parity"


class ConsistencyCheck(msgspec.Struct, frozen=True):
    """When every door was asked, of which model, which of them agreed, and what kept it from being asked."""

    at: datetime
    model_version: int | None = None
    doors: dict[str, bool] = {}
    error: str = ""
    #: Why a door did not answer at all.
    refusals: dict[str, str] = {}

    @property
    def is_passed(self) -> bool:
        return not self.error and all(self.doors.values())

    @property
    def rows(self) -> list[tuple[str, bool, str]]:
        """Each door by its label, whether it agrees, and why it did not answer."""
        return [(str(Channel(door).label), agrees, self.refusals.get(door, "")) for door, agrees in self.doors.items()]


def run() -> ConsistencyCheck:
    """Ask at every door, and keep what came of it."""
    # Stays so when a door breaks: what was found before must not stand there as if it were still so.
    found = ConsistencyCheck(timezone.now(), error=_("The self-test broke off: the worker's log says at which door."))
    try:
        compared = consistency.compare()
        found = ConsistencyCheck(timezone.now(), compared.model_version, compared.agreements, refusals=compared.errors)
    except TitanicError as error:
        found = ConsistencyCheck(timezone.now(), error=error.message)
    finally:
        redis.client().set(_KEY, msgspec.json.encode(found))
    return found


def last() -> ConsistencyCheck | None:
    """What came of the last one; None before the first. Raises RedisError."""
    kept = redis.client().get(_KEY)
    return None if kept is None else msgspec.json.decode(kept, type=ConsistencyCheck)
