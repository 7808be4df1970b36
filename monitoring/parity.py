"""The last self-test: whether every door gives one answer."""

from datetime import datetime

import msgspec
from django.utils import timezone

from predictions import parity
from predictions.models import Door
from titanic_site.lib import redis
from titanic_site.lib.errors import TitanicError

_KEY = "monitoring:parity"


class SelfTest(msgspec.Struct, frozen=True):
    """When every door was asked, of which model, which of them agreed, and what kept it from being asked."""

    at: datetime
    model_version: int | None = None
    doors: dict[str, bool] = {}
    error: str = ""

    @property
    def is_passed(self) -> bool:
        return not self.error and all(self.doors.values())

    @property
    def rows(self) -> list[tuple[str, bool]]:
        """Each door by its label."""
        return [(str(Door(door).label), agrees) for door, agrees in self.doors.items()]


def run() -> SelfTest:
    """Ask at every door, and keep what came of it."""
    try:
        version, doors = parity.compare()
        found = SelfTest(timezone.now(), version, doors)
    except TitanicError as error:
        found = SelfTest(timezone.now(), error=error.message)
    redis.client().set(_KEY, msgspec.json.encode(found))
    return found


def last() -> SelfTest | None:
    """What came of the last one; None before the first. Raises RedisError."""
    kept = redis.client().get(_KEY)
    return None if kept is None else msgspec.json.decode(kept, type=SelfTest)
