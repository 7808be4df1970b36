"""The stream in Redis: append predictions, read and delete its entries, measure how many wait."""

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

_Messages = list[tuple[bytes, dict[bytes, bytes]]]
STREAM = "predictions:log"
#: The field of a stream entry that holds its predictions.
FIELD = b"p"
#: How many stream entries are read at a time.
READ_ENTRIES = 2_000
#: How many predictions of one batch share a stream entry.
PACK_ROWS = 25
#: How many predictions may wait; beyond that they go straight to Postgres, or are rejected when it is unavailable too.
MAX_BACKLOG = 1_000_000
#: How long (seconds) a check of the stream is good for.
CHECK_SECONDS = 1.0
# How many more predictions than entries the stream holds.
_EXTRA = "predictions:log:shared"
# Deletes packs, given as id and number of predictions in turn, and lowers the count of extra predictions. A pack that
# is gone already is not counted; entries put there by others were never counted, hence the floor of 0.
_DELETE_PACKS = """
local extra = 0
for i = 1, #ARGV, 2 do
  if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 then extra = extra + ARGV[i + 1] - 1 end
end
if extra > 0 and redis.call('DECRBY', KEYS[2], extra) < 0 then redis.call('SET', KEYS[2], 0) end
"""
# Appends an entry and stores a value under a key, or returns what is stored there already.
_APPEND_IDEMPOTENT = """
local stored = redis.call('GET', KEYS[2])
if stored then return stored end
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
redis.call('XADD', KEYS[1], '*', ARGV[1], ARGV[2])
return false
"""


class CircuitOpen(Exception):
    """The stream takes no entries at the moment."""


class StreamCircuitBreaker:
    """Opens for a second when the stream is full or a write failed: a Redis that is unavailable does not delay all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Start closed and unchecked."""
        self._obstacle = ""
        self._checked_at = float("-inf")

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Write to the stream in the body; raises CircuitOpen instead of running it when the circuit is open."""
        try:
            # One thread checks; the others go by the last check meanwhile.
            if time.monotonic() - self._checked_at > CHECK_SECONDS and self._lock.acquire(blocking=False):
                try:
                    self._obstacle = f"{MAX_BACKLOG} predictions wait" if backlog() >= MAX_BACKLOG else ""
                finally:
                    self._checked_at = time.monotonic()
                    self._lock.release()
            if self._obstacle:
                raise CircuitOpen(self._obstacle)
            yield
        except (RedisConnectionError, RedisTimeoutError) as error:
            self._obstacle = f"Redis was unavailable a moment ago: {error}"
            self._checked_at = time.monotonic()
            raise


breaker = StreamCircuitBreaker()
# A Redis that rejects writes, because its disk is full for example, is treated as unavailable.
_NOT_WRITABLE = (*RedisUnavailable, ResponseError, CircuitOpen)


def append(entries: Sequence[LogEntry]) -> None:
    """Log predictions durably, in the stream or else in Postgres; raises Unavailable when neither takes them."""
    try:
        with breaker.guard():
            if len(entries) == 1:
                redis.client().xadd(STREAM, {FIELD: encode(entries)})
                return
            packs = [entries[start : start + PACK_ROWS] for start in range(0, len(entries), PACK_ROWS)]
            # All or none: half a batch in the log would be half an answer.
            with redis.client().pipeline(transaction=True) as pipeline:
                for pack in packs:
                    pipeline.xadd(STREAM, {FIELD: encode(pack)})
                pipeline.incrby(_EXTRA, len(entries) - len(packs))
                pipeline.execute()
    except _NOT_WRITABLE as error:
        logger.warning("the stream is not writable, writing %s straight to PostgreSQL: %s", len(entries), error)
        try:
            postgres.insert(entries)
        except (DatabaseError, InterfaceError) as database_error:
            raise _unavailable() from database_error


def append_idempotent(entry: LogEntry, *, name: str, value: bytes, seconds: int) -> bytes | None:
    """Log a prediction and store a value under a key for some seconds, both or neither.

    Returns what the key held already, if anything; then nothing is logged. Raises Unavailable when the stream is not
    writable: Postgres alone does not know the key.
    """
    try:
        with breaker.guard():
            arguments = (STREAM, name, FIELD, encode([entry]), value, seconds)
            stored: bytes | None = redis.client().eval(_APPEND_IDEMPOTENT, 2, *arguments)
    except _NOT_WRITABLE as error:
        logger.warning("the stream is not writable: %s", error)
        raise _unavailable() from error
    return stored


def batches(*, first: bytes | int = b"-", last: bytes | int = b"+") -> Iterator[list[StreamEntry]]:
    """Read the stream from one id to another, some thousand entries at a time."""
    while messages := cast("_Messages", redis.client().xrange(STREAM, min=first, max=last, count=READ_ENTRIES)):
        # A message of another program is stored as text, so that the dead letter shows it.
        yield [
            StreamEntry(entry_id, fields[FIELD] if FIELD in fields else repr(fields).encode())
            for entry_id, fields in messages
        ]
        first = b"(" + messages[-1][0]


def delete_entries(counts: Mapping[bytes, int]) -> None:
    """Delete entries from the stream, given by id with the number of predictions of each."""
    singles = [entry_id for entry_id, count in counts.items() if count == 1]
    if singles:
        redis.client().xdel(STREAM, *singles)
    packs = [part for item in counts.items() if item[1] > 1 for part in item]
    if packs:
        redis.client().eval(_DELETE_PACKS, 2, STREAM, _EXTRA, *packs)


def backlog() -> int:
    """Count the predictions that wait in the stream."""
    with redis.client().pipeline(transaction=False) as pipeline:
        pipeline.xlen(STREAM)
        pipeline.get(_EXTRA)
        entry_count, extra = pipeline.execute()
    return int(entry_count) + int(extra or 0)


def longest_wait() -> float:
    """Return for how many seconds the oldest entry has waited, by Redis' clock."""
    oldest = cast("_Messages", redis.client().xrange(STREAM, count=1))
    if not oldest:
        return 0.0
    seconds, microseconds = redis.client().time()
    appended_at = int(oldest[0][0].split(b"-")[0]) / 1000
    return max(float(seconds + microseconds / 1e6) - appended_at, 0.0)


def _unavailable() -> Unavailable:
    return Unavailable(_("The prediction cannot be recorded at the moment. Try again in a few seconds."))
