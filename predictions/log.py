"""The prediction log: appended to a Redis stream at once, drained into Postgres, trimmed only when committed."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, connection, transaction
from django.utils.translation import gettext as _
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from core import redis
from core.advisory_locks import AdvisoryLock, try_lock
from core.errors import Unavailable
from core.postgres_copy import copy_lines
from core.redis import RedisUnavailable
from ingestion.contract import Value
from ingestion.passenger import FIELD_NAMES
from predictions.models import DeadLetter, Prediction

logger = logging.getLogger(__name__)

STREAM = "predictions:log"
#: So many entries of the stream are moved at a time, and so many predictions of one batch share an entry.
DRAIN_ENTRIES, PACK_ROWS = 2_000, 25
#: How many entries may wait; what comes then goes straight into Postgres, or is refused when that is away too.
MAX_BACKLOG = 1_000_000
#: How often an entry may fail by its own fault before it is put aside.
MAX_ATTEMPTS = 3
_FIELD = b"p"
_TRIES = "predictions:log:tries"
# How many more predictions than entries the stream has.
_SHARED = "predictions:log:shared"
# Takes packs out and counts what they shared; packs that another drainer took out are not counted again, and those of
# somebody else were not counted at first.
_TAKE_OUT = """
local shared = 0
for place = 1, #ARGV, 2 do
  if redis.call('XDEL', KEYS[1], ARGV[place]) == 1 then shared = shared + ARGV[place + 1] - 1 end
end
if shared > 0 and redis.call('DECRBY', KEYS[2], shared) < 0 then redis.call('SET', KEYS[2], 0) end
"""
# So long (seconds) no look at a stream that is away takes.
_OUTDATED = 15.0
#: What an entry can be blamed for. A service that is away, full or shutting down says something else.
_OWN_FAULT = (DataError, IntegrityError, ValueError)
# How far (milliseconds) before and after its own time a prediction can stand in the stream, by two clocks.
_EARLIEST, _LATEST = 5_000, 60_000


# It never is in a circle; fifty thousand of them would be searched for some, over and over.
class _Answered(msgspec.Struct, array_like=True, gc=False):
    id: str
    model_version: int
    probability: float
    threshold: float
    survived: bool
    source: str
    scoring_job_id: int | None
    created_at: datetime


#: One prediction on its way into Postgres, in the order of `COLUMNS`.
Entry: Any = msgspec.defstruct(
    "Entry", [(name, Value) for name in FIELD_NAMES], bases=(_Answered,), array_like=True, gc=False
)
COLUMNS: tuple[str, ...] = Entry.__struct_fields__
# Appends and keeps the answer under its key, or says what is kept there already.
_APPEND_IDEMPOTENT = """
local kept = redis.call('GET', KEYS[2])
if kept then return kept end
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
redis.call('XADD', KEYS[1], '*', ARGV[1], ARGV[2])
return false
"""
# The stream holds what COPY takes: the drain reads none of it.
_encode = msgspec.json.Encoder().encode_lines
_decode = msgspec.json.Decoder(Entry).decode


_is_dry_run = ContextVar("is_dry_run", default=False)
is_dry_run = _is_dry_run.get


@contextmanager
def dry_run() -> Iterator[None]:
    """Within it answers are given and not logged: the self-test's questions are nobody's."""
    before = _is_dry_run.set(True)
    try:
        yield
    finally:
        _is_dry_run.reset(before)


class StreamEntry(NamedTuple):
    """An entry as it stands in the stream."""

    entry_id: bytes
    raw: bytes


class StreamCircuitBreaker:
    """Whether the stream takes more; looked at once a second, so that it costs a request nothing.

    One that was away is not asked again within that second either: to learn it anew may take seconds each time.
    """

    def __init__(self) -> None:
        self._why_not = ""
        self._looked_at = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Write to the stream in the body; raises _Refusing when it is not to be asked."""
        # While one looks, the others go by what was found before, if that was lately.
        if self._age() > 1 and self._lock.acquire(blocking=self._age() > _OUTDATED):
            try:
                if self._age() > 1:
                    with self._noting():
                        self._note(f"{MAX_BACKLOG} entries wait" if backlog() >= MAX_BACKLOG else "")
            finally:
                self._lock.release()
        if self._why_not:
            raise CircuitOpen(self._why_not)
        with self._noting():
            yield

    def _age(self) -> float:
        return time.monotonic() - self._looked_at

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except (RedisConnectionError, RedisTimeoutError) as error:
            self._note(f"it was away a moment ago: {error}")
            raise

    def _note(self, why_not: str) -> None:
        self._why_not, self._looked_at = why_not, time.monotonic()


_circuit_breaker = StreamCircuitBreaker()


class CircuitOpen(Exception):
    """The stream takes no more at the moment."""


def append(entries: Sequence[Any]) -> None:
    """Log predictions durably, or raise Unavailable: what is not logged is not claimed."""
    try:
        with _circuit_breaker.watched():
            _append_to_stream(entries)
    # A Redis that answers with a refusal (its disk is full, say) is as good as none.
    except (*RedisUnavailable, ResponseError, CircuitOpen) as error:
        logger.warning("The stream takes nothing, logging %s straight into Postgres: %s", len(entries), error)
        try:
            insert(entries)
        except (DatabaseError, InterfaceError) as away:
            raise _not_now() from away


def append_idempotent(entry: Any, *, name: str, value: bytes, seconds: int) -> bytes | None:
    """Log a prediction and keep a value under a name for so long, both or neither; returns what is kept there already.

    Raises Unavailable when the stream takes nothing: Postgres alone does not know the name.
    """
    try:
        with _circuit_breaker.watched():
            arguments = (STREAM, name, _FIELD, _encode([entry]), value, seconds)
            kept: bytes | None = redis.client().eval(_APPEND_IDEMPOTENT, 2, *arguments)
    except (*RedisUnavailable, ResponseError, CircuitOpen) as error:
        logger.warning("The stream takes nothing: %s", error)
        raise _not_now() from error
    return kept


def _not_now() -> Unavailable:
    return Unavailable(_("The prediction cannot be recorded at the moment. Try again in a few seconds."))


def _append_to_stream(entries: Sequence[Any]) -> None:
    if len(entries) == 1:
        redis.client().xadd(STREAM, {_FIELD: _encode(entries)})
        return
    packs = [entries[start : start + PACK_ROWS] for start in range(0, len(entries), PACK_ROWS)]
    # All or none: half a batch in the log would be half an answer.
    with redis.client().pipeline(transaction=True) as pipeline:
        for pack in packs:
            pipeline.xadd(STREAM, {_FIELD: _encode(pack)})
        pipeline.incrby(_SHARED, len(entries) - len(packs))
        pipeline.execute()


def backlog() -> int:
    """How many predictions wait in the stream."""
    entries, shared = redis.execute(("XLEN", STREAM), ("GET", _SHARED))
    return int(entries) + int(shared or 0)


def longest_wait() -> float:
    """For how many seconds the oldest entry has waited, by Redis' clock."""
    oldest = redis.client().xrange(STREAM, count=1)
    if not oldest:
        return 0.0
    seconds, microseconds = redis.client().time()
    began = int(oldest[0][0].split(b"-")[0]) / 1000
    return max(float(seconds + microseconds / 1e6) - began, 0.0)


def drain() -> int:
    """Move what waits in the stream into Postgres and return how many predictions that was.

    At least once, and harmless twice: the row's id decides, and only what is committed leaves the stream. An entry that
    fails by its own fault stays for the next drains, and is put aside as a dead letter when it has failed too often.
    """
    moved, after = 0, b"-"
    while found := redis.client().xrange(STREAM, min=after, count=DRAIN_ENTRIES):
        batch = [StreamEntry(entry_id, _raw(fields)) for entry_id, fields in found]
        with transaction.atomic():
            if not try_lock(AdvisoryLock.LOG_WRITER):
                break
            done = settle_entries(batch)
        delete_entries(done)
        moved += sum(done.values())
        after = b"(" + batch[-1].entry_id
    return moved


def delete_entries(done: Mapping[bytes, int]) -> None:
    """Remove entries from the stream, each given with the number of its predictions."""
    alone = [entry_id for entry_id, count in done.items() if count == 1]
    if alone:
        redis.client().xdel(STREAM, *alone)
    packs = [word for item in done.items() if item[1] > 1 for word in item]
    if packs:
        redis.client().eval(_TAKE_OUT, 2, STREAM, _SHARED, *packs)


def insert(entries: Sequence[Any]) -> None:
    """Write predictions into Postgres now; those that are there already stay as they are."""
    _insert(_encode(entries))


def retry(letter: DeadLetter) -> bool:
    """Try once more to store what was put aside; the letter goes when it worked, and says why when it did not."""
    _counts, failures = store_entries([StreamEntry(letter.entry_id.encode(), bytes(letter.raw))])
    if not failures:
        letter.delete()
        return True
    letter.error = str(*failures.values())
    letter.attempts += 1
    letter.save(update_fields=["error", "attempts"])
    return False


def find(prediction_id: UUID) -> Prediction | None:
    """A logged prediction, from Postgres or, in the seconds before the drain, from the stream."""
    stored = Prediction.objects.filter(pk=prediction_id)
    # Once more at the end: it may have been moved while the stream was looked at.
    return stored.first() or _find_in_stream(prediction_id) or stored.first()


def _find_in_stream(prediction_id: UUID) -> Prediction | None:
    # Most entries are seen to be others without being decoded.
    wanted = str(prediction_id).encode()
    try:
        candidates = [entry.raw for entry in _around(prediction_id) if wanted in entry.raw]
    except RedisUnavailable:
        return None
    for line in (line for raw in candidates for line in raw.splitlines() if wanted in line):
        with suppress(msgspec.DecodeError):
            entry = _decode(line)
            if entry.id == str(prediction_id):
                values = dict(zip(COLUMNS, msgspec.structs.astuple(entry), strict=True))
                return Prediction(**values | {"id": prediction_id})
    return None


def _around(prediction_id: UUID) -> Iterator[StreamEntry]:
    """What was appended when the prediction was made: a few thousand entries, however many wait."""
    made_at = prediction_id.int >> 80
    after: bytes | int = max(made_at - _EARLIEST, 0)
    while found := redis.client().xrange(STREAM, min=after, max=made_at + _LATEST, count=DRAIN_ENTRIES):
        yield from (StreamEntry(entry_id, _raw(fields)) for entry_id, fields in found)
        after = b"(" + found[-1][0]


def _raw(fields: Mapping[bytes, bytes]) -> bytes:
    # What is none of ours is kept as it is, for whoever looks at the dead letter.
    return fields[_FIELD] if _FIELD in fields else repr(fields).encode()


def settle_entries(batch: Sequence[StreamEntry]) -> dict[bytes, int]:
    """Store the batch, and put aside what failed too often; returns what need not wait, and its predictions' number."""
    counts, failures = store_entries(batch)
    dead = {entry.entry_id for entry in batch if entry.entry_id in failures and _has_failed_enough(entry)}
    letters = [
        DeadLetter(
            entry_id=entry.entry_id.decode(), raw=entry.raw, error=str(failures[entry.entry_id]), attempts=MAX_ATTEMPTS
        )
        for entry in batch
        if entry.entry_id in dead
    ]
    DeadLetter.objects.bulk_create(letters, ignore_conflicts=True)
    for letter in letters:
        logger.error("entry %s of the prediction log was put aside: %s", letter.entry_id, letter.error)
    settled = [entry.entry_id for entry in batch if entry.entry_id not in failures or entry.entry_id in dead]
    return {entry_id: counts.get(entry_id, 1) for entry_id in settled}


def _has_failed_enough(entry: StreamEntry) -> bool:
    tries = int(redis.client().hincrby(_TRIES, entry.entry_id, 1))
    if tries < MAX_ATTEMPTS:
        return False
    redis.client().hdel(_TRIES, entry.entry_id)
    return True


def store_entries(batch: Sequence[StreamEntry]) -> tuple[dict[bytes, int], dict[bytes, Exception]]:
    """Store what can be stored, and return how many predictions each entry has, and why it could not be stored."""
    counts: dict[bytes, int] = {}
    failures: dict[bytes, Exception] = {}
    for entry_id, raw in batch:
        try:
            counts[entry_id] = _count(raw)
        except ValueError as error:
            failures[entry_id] = error
    return counts, failures | bisect_insert([waiting for waiting in batch if waiting.entry_id in counts])


def _count(raw: bytes) -> int:
    """How many predictions an entry of the stream holds; raises ValueError when it is none of ours."""
    count = raw.count(b"\n")
    if not (raw.startswith(b'["') and raw.endswith(b"]\n") and raw.count(b']\n["') == count - 1):
        message = "it does not hold predictions"
        raise ValueError(message)
    return count


def bisect_insert(batch: Sequence[StreamEntry]) -> dict[bytes, Exception]:
    """Insert all at once, or by halves down to what Postgres refuses; returns why, by the entry that it came in.

    The others of such an entry may be those of somebody else, and are stored.
    """
    try:
        _insert(b"".join(waiting.raw for waiting in batch))
    except _OWN_FAULT as error:
        if len(batch) > 1:
            middle = len(batch) // 2
            return bisect_insert(batch[:middle]) | bisect_insert(batch[middle:])
        ((entry_id, raw),) = batch
        lines = raw.split(b"\n")[:-1]
        if len(lines) == 1:
            return {entry_id: error}
        return bisect_insert([StreamEntry(entry_id, line + b"\n") for line in lines])
    return {}


def _insert(lines: bytes) -> None:
    table = Prediction._meta.db_table
    with transaction.atomic():
        try:
            with transaction.atomic():
                copy_lines(table, COLUMNS, lines)
        except IntegrityError:
            # Some of it is there, from a drainer that was killed, say. A table of its own takes twice as long.
            _insert_missing(table, lines)


def _insert_missing(table: str, lines: bytes) -> None:
    columns = ", ".join(COLUMNS)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMP TABLE drained (LIKE {table} INCLUDING DEFAULTS) ON COMMIT DROP")
        copy_lines("drained", COLUMNS, lines)
        cursor.execute(
            f"INSERT INTO {table} ({columns}) SELECT {columns} FROM drained ORDER BY id ON CONFLICT DO NOTHING"
        )
        # Another batch may follow in this transaction.
        cursor.execute("DROP TABLE drained")
