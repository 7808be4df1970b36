"""The stream in Redis: append predictions, read and delete its entries, measure the backlog.

An entry holds one prediction, or a pack: several predictions of one batch.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

from django.db import DatabaseError, InterfaceError
from django.utils.translation import gettext as _
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from core import redis
from core.errors import Unavailable
from core.redis import RedisUnavailable
from predictions.log import postgres
from predictions.log.entries import LogEntry, StreamEntry, encode

logger = logging.getLogger(__name__)

_RawEntries = list[tuple[bytes, dict[bytes, bytes]]]
STREAM = "predictions:log"
#: The field of a stream entry that holds its predictions.
FIELD = b"p"
#: How many stream entries are read at a time.
READ_ENTRIES = 2_000
#: How many predictions a pack holds at most.
PACK_ROWS = 25
#: How many predictions may wait; further ones are written to Postgres directly, or rejected when that is unavailable.
MAX_BACKLOG = 1_000_000
#: For how many seconds writes rely on the last check of the backlog.
CHECK_SECONDS = 1.0
# The Redis key that counts predictions beyond the first of each entry: with the stream's length it is the backlog.
_EXTRA_KEY = "predictions:log:shared"
# Deletes packs, given as id, number of predictions, id, …, and lowers the count of extra predictions. A pack that was
# deleted before is not subtracted again. Packs of other programs were never added: the count must not fall below 0.
_DELETE_PACKS = """
local extra = 0
for i = 1, #ARGV, 2 do
  if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 then extra = extra + ARGV[i + 1] - 1 end
end
if extra > 0 and redis.call('DECRBY', KEYS[2], extra) < 0 then redis.call('SET', KEYS[2], 0) end
"""
# Appends entries and stores a value under a key; or does neither and returns the value that the key has already.
_APPEND_IDEMPOTENT = """
local stored = redis.call('GET', KEYS[2])
if stored then return stored end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
for i = 5, #ARGV do redis.call('XADD', KEYS[1], '*', ARGV[4], ARGV[i]) end
redis.call('INCRBY', KEYS[3], ARGV[3])
return false
"""


class CircuitOpen(Exception):
    """Nothing is written to the stream at the moment."""


class StreamCircuitBreaker:
    """Skip the stream for a second when it is full or a write failed, so that not every request waits for Redis."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Close the circuit; the next write checks the backlog."""
        self._open_reason = ""
        self._checked_at = float("-inf")

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Run the body, which writes to the stream; raises CircuitOpen instead when the circuit is open."""
        try:
            # One thread checks; meanwhile the others rely on the last check.
            if time.monotonic() - self._checked_at > CHECK_SECONDS and self._lock.acquire(blocking=False):
                try:
                    self._open_reason = f"{MAX_BACKLOG} predictions wait" if backlog() >= MAX_BACKLOG else ""
                finally:
                    self._checked_at = time.monotonic()
                    self._lock.release()
            if self._open_reason:
                raise CircuitOpen(self._open_reason)
            yield
        except (RedisConnectionError, RedisTimeoutError) as error:
            self._open_reason = f"Redis was unavailable a moment ago: {error}"
            self._checked_at = time.monotonic()
            raise


breaker = StreamCircuitBreaker()
# A Redis that rejects writes (ResponseError), because its disk is full for example, counts as unavailable.
_NOT_WRITABLE = (*RedisUnavailable, ResponseError, CircuitOpen)


def append(entries: Sequence[LogEntry]) -> None:
    """Log predictions durably, in the stream or else in Postgres; raises Unavailable when neither can store them."""
    try:
        with breaker.guard():
            if len(entries) == 1:
                redis.client().xadd(STREAM, {FIELD: encode(entries)})
                return
            packs = _packs(entries)
            # All or none: a batch is answered as a whole.
            with redis.client().pipeline(transaction=True) as pipeline:
                for pack in packs:
                    pipeline.xadd(STREAM, {FIELD: encode(pack)})
                pipeline.incrby(_EXTRA_KEY, len(entries) - len(packs))
                pipeline.execute()
    except _NOT_WRITABLE as error:
        logger.warning("the stream is not writable, writing %s predictions to PostgreSQL: %s", len(entries), error)
        try:
            postgres.insert(entries)
        except (DatabaseError, InterfaceError) as database_error:
            raise _unavailable() from database_error


def append_idempotent(entries: Sequence[LogEntry], *, key: str, value: bytes, ttl_seconds: int) -> bytes | None:
    """Log predictions and store a value under a Redis key, both or neither.

    Returns the value that the key has already, if any; then nothing is logged. Raises Unavailable when the stream is
    not writable: Postgres does not store keys.
    """
    try:
        with breaker.guard():
            packs = _packs(entries)
            arguments: list[bytes | int] = [value, ttl_seconds, len(entries) - len(packs), FIELD, *map(encode, packs)]
            stored: bytes | None = redis.client().eval(_APPEND_IDEMPOTENT, 3, STREAM, key, _EXTRA_KEY, *arguments)
    except _NOT_WRITABLE as error:
        logger.warning("the stream is not writable: %s", error)
        raise _unavailable() from error
    return stored


def _packs(entries: Sequence[LogEntry]) -> list[Sequence[LogEntry]]:
    return [entries[start : start + PACK_ROWS] for start in range(0, len(entries), PACK_ROWS)]


def read(*, first: bytes | int = b"-", last: bytes | int = b"+") -> Iterator[list[StreamEntry]]:
    """Read the stream from one id to another; yields lists of at most `READ_ENTRIES`."""
    while raw_entries := cast("_RawEntries", redis.client().xrange(STREAM, min=first, max=last, count=READ_ENTRIES)):
        # An entry of another program lacks the field: its text becomes a dead letter, for people to read.
        yield [
            StreamEntry(entry_id, fields[FIELD] if FIELD in fields else repr(fields).encode())
            for entry_id, fields in raw_entries
        ]
        first = b"(" + raw_entries[-1][0]


def replace(entry: StreamEntry, lines: Sequence[bytes]) -> None:
    """Replace an entry by one with these of its lines. A crash in between leaves both: a line is stored once."""
    if lines:
        with redis.client().pipeline(transaction=True) as pipeline:
            pipeline.xadd(STREAM, {FIELD: b"".join(lines)})
            pipeline.incrby(_EXTRA_KEY, len(lines) - 1)
            pipeline.execute()
    delete_entries({entry.entry_id: entry.raw.count(b"\n") or 1})


def delete_entries(counts: Mapping[bytes, int]) -> None:
    """Delete entries from the stream: ids with the number of predictions that each holds."""
    singles = [entry_id for entry_id, count in counts.items() if count == 1]
    if singles:
        redis.client().xdel(STREAM, *singles)
    packs = [argument for entry_id, count in counts.items() if count > 1 for argument in (entry_id, count)]
    if packs:
        redis.client().eval(_DELETE_PACKS, 2, STREAM, _EXTRA_KEY, *packs)


def backlog() -> int:
    """Count the predictions that wait in the stream."""
    with redis.client().pipeline(transaction=False) as pipeline:
        pipeline.xlen(STREAM)
        pipeline.get(_EXTRA_KEY)
        entry_count, extra = pipeline.execute()
    return int(entry_count) + int(extra or 0)


def longest_wait() -> float:
    """Return for how many seconds the oldest entry has waited, by the clock of Redis."""
    oldest = cast("_RawEntries", redis.client().xrange(STREAM, count=1))
    if not oldest:
        return 0.0
    ((entry_id, _fields),) = oldest
    seconds, microseconds = redis.client().time()
    # An entry's id begins with the milliseconds since 1970.
    appended_at = int(entry_id.split(b"-")[0]) / 1000
    return max(float(seconds + microseconds / 1e6) - appended_at, 0.0)


def _unavailable() -> Unavailable:
    return Unavailable(_("The prediction cannot be recorded at the moment. Try again in a few seconds."))
