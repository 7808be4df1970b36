"""Model files that must not serve, noted in Redis by whichever process met them: alerts are raised from here."""

import json
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

from django.utils import timezone
from redis import RedisError

from core import redis

# A note must never keep an answer back: whatever is wrong with Redis, the log line is written in any case.
_REFUSED = "predictions:refused"


#: A process tries a refused file again every minute at the latest: a note that is older is of one that is gone.
FRESH = timedelta(minutes=5)


class Refused(NamedTuple):
    """A version, why its file was refused, and when (ISO 8601)."""

    version: int
    reason: str
    at: str


def note(version: int, reason: str) -> None:
    """Write down that a version's file was refused; without Redis the log line has to do."""
    with suppress(RedisError):
        redis.client().hset(_REFUSED, str(version), json.dumps({"reason": reason, "at": timezone.now().isoformat()}))


def clear(version: int) -> None:
    """The version's file was loaded."""
    with suppress(RedisError):
        redis.client().hdel(_REFUSED, str(version))


def every() -> list[Refused]:
    """All that are refused at the moment, by version; raises RedisError."""
    found = [Refused(int(version), **json.loads(said)) for version, said in redis.client().hgetall(_REFUSED).items()]
    since = timezone.now() - FRESH
    return sorted(refused for refused in found if datetime.fromisoformat(refused.at) >= since)
