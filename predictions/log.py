"""The prediction log: appended to a Redis stream at once, drained into Postgres, trimmed only when committed."""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.utils.translation import gettext as _

from ingestion.passenger import FIELD_NAMES
from predictions.models import Prediction
from titanic_site.lib import redis
from titanic_site.lib.copying import copy_rows
from titanic_site.lib.errors import Unavailable
from titanic_site.lib.redis import RedisAway

logger = logging.getLogger(__name__)

STREAM = "predictions:log"
DRAIN_ROWS = 5_000
#: One drainer at a time is enough; more would only repeat each other's work.
_LOCK = 4_104_002
_FIELD = b"p"


class Entry(msgspec.Struct, array_like=True):
    """One prediction on its way into Postgres."""

    id: UUID
    model_version: int
    probability: float
    threshold: float
    survived: bool
    source: str
    scoring_job_id: int | None
    created_at: datetime
    passenger: tuple[int | float | str | None, ...]

    def row(self) -> tuple[Any, ...]:
        """The values of `_COLUMNS`."""
        return (
            self.id, self.model_version, self.probability, self.threshold, self.survived,
            self.source, self.scoring_job_id, self.created_at, *self.passenger,
        )  # fmt: skip


_COLUMNS = (
    "id", "model_version", "probability", "threshold", "survived",
    "source", "scoring_job_id", "created_at", *FIELD_NAMES,
)  # fmt: skip
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def append(entries: Sequence[Entry]) -> None:
    """Log predictions durably, or raise Unavailable: what is not logged is not claimed."""
    try:
        _append_to_stream(entries)
    except RedisAway as error:
        logger.warning("Redis is away, logging %s predictions straight into Postgres: %s", len(entries), error)
        try:
            insert(entries)
        except (DatabaseError, InterfaceError) as away:
            message = _("The prediction cannot be recorded at the moment. Try again in a few seconds.")
            raise Unavailable(message) from away


def _append_to_stream(entries: Sequence[Entry]) -> None:
    if len(entries) == 1:
        redis.client().xadd(STREAM, {_FIELD: _encode(entries[0])})
        return
    # All or none: half a batch in the log would be half an answer.
    with redis.client().pipeline(transaction=True) as pipeline:
        for entry in entries:
            pipeline.xadd(STREAM, {_FIELD: _encode(entry)})
        pipeline.execute()


def backlog() -> int:
    """How many predictions wait in the stream."""
    return int(redis.client().xlen(STREAM))


def drain() -> int:
    """Move what waits in the stream into Postgres and return how many entries that was.

    At least once, and harmless twice: the row's id decides, and only what is committed leaves the stream.
    """
    moved = 0
    while batch := redis.client().xrange(STREAM, count=DRAIN_ROWS):
        with transaction.atomic():
            if not _is_only_drainer():
                break
            _insert([_decode(fields[_FIELD]) for _id, fields in batch])
        redis.client().xdel(STREAM, *[entry_id for entry_id, _fields in batch])
        moved += len(batch)
    return moved


def insert(entries: Sequence[Entry]) -> None:
    """Write predictions into Postgres now; those that are there already stay as they are."""
    with transaction.atomic():
        _insert(entries)


def find(prediction_id: UUID) -> Prediction | None:
    """A logged prediction, from Postgres or, in the seconds before the drain, from the stream."""
    found = Prediction.objects.filter(pk=prediction_id).first()
    return found or _find_in_stream(prediction_id)


def _find_in_stream(prediction_id: UUID) -> Prediction | None:
    try:
        waiting = redis.client().xrevrange(STREAM, count=DRAIN_ROWS)
    except RedisAway:
        return None
    for _id, fields in waiting:
        entry = _decode(fields[_FIELD])
        if entry.id == prediction_id:
            return Prediction(**dict(zip(_COLUMNS, entry.row(), strict=True)))
    return None


def _is_only_drainer() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        (is_ours,) = cursor.fetchone()
    return bool(is_ours)


def _insert(entries: Iterable[Entry]) -> None:
    table, columns = Prediction._meta.db_table, ", ".join(_COLUMNS)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMP TABLE drained (LIKE {table} INCLUDING DEFAULTS) ON COMMIT DROP")
        copy_rows("drained", _COLUMNS, (entry.row() for entry in entries))
        cursor.execute(
            f"INSERT INTO {table} ({columns}) SELECT {columns} FROM drained ORDER BY id ON CONFLICT DO NOTHING"
        )
