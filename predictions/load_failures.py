"""Model files that failed to load, recorded in Redis by each process: alerts are raised from here."""

import json
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

from django.utils import timezone
from redis import RedisError

from core import redis
from core.messages import Message, as_message

# Recording must never fail a prediction: an error of Redis is ignored, the log line is written anyway.
_KEY = "predictions:load_failures"


#: A process tries to load again every minute at the latest: an older record is of a process that is gone.
MAX_AGE = timedelta(minutes=5)


class LoadFailure(NamedTuple):
    """A version, why its file failed to load, and when (ISO 8601)."""

    version: int
    reason: Message
    at: str


def record(version: int, reason: Message | str) -> None:
    """Record that a version's file failed to load; without Redis only the log line remains."""
    with suppress(RedisError):
        failure = {"reason": as_message(reason).dump(), "at": timezone.now().isoformat()}
        redis.client().hset(_KEY, str(version), json.dumps(failure))


def clear(version: int) -> None:
    """Forget the failure: the version's file was loaded."""
    with suppress(RedisError):
        redis.client().hdel(_KEY, str(version))


def recent() -> list[LoadFailure]:
    """List the failures of the last minutes, by version; raises RedisError."""
    stored = redis.client().hgetall(_KEY)
    records = [(int(version), json.loads(fields)) for version, fields in stored.items()]
    failures = [LoadFailure(version, Message.load(record["reason"]), record["at"]) for version, record in records]
    since = timezone.now() - MAX_AGE
    recent_ones = [failure for failure in failures if datetime.fromisoformat(failure.at) >= since]
    return sorted(recent_ones, key=lambda failure: failure.version)
