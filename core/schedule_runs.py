"""How the last runs of each schedule went: a short list in Redis, since some run every second."""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from core import redis
from core.messages import Message

#: So many runs of a schedule are kept.
KEPT = 20


@dataclass(frozen=True)
class ScheduleRun:
    """When a run began (seconds since 1970), how long it took, and its error; none where it succeeded."""

    began: float
    seconds: float
    error: str = ""

    @property
    def started_at(self) -> datetime:
        return datetime.fromtimestamp(self.began, UTC)

    @property
    def message(self) -> str:
        """The error in the reader's language."""
        return str(Message.load(self.error))

    @property
    def duration(self) -> timedelta:
        return timedelta(seconds=self.seconds)


def record(name: str, *, began: float, error: Message) -> None:
    """Add a run that ends now; without Redis it is left out."""
    run = ScheduleRun(began, max(0.0, time.time() - began), error.dump())
    with suppress(*redis.RedisUnavailable), redis.client().pipeline() as pipeline:
        pipeline.lpush(_key(name), json.dumps(asdict(run)))
        pipeline.ltrim(_key(name), 0, KEPT - 1)
        pipeline.execute()


def newest(names: Sequence[str], *, count: int = 1) -> dict[str, list[ScheduleRun]]:
    """Return the last runs of each schedule, newest first; raises RedisUnavailable."""
    with redis.client().pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.lrange(_key(name), 0, count - 1)
        answers = pipeline.execute()
    return {name: [ScheduleRun(**json.loads(run)) for run in runs] for name, runs in zip(names, answers, strict=True)}


def _key(name: str) -> str:
    return f"schedule_runs:{name}"
