"""The feature store: whole batches in Redis, each a list of chunks for training and drift and a hash for look-ups."""

import hashlib
import itertools
import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self, cast

import numpy as np

from core import redis
from features.definition import FEATURES, VERSION, Matrix

#: How long readers may finish with a batch that expires.
GRACE_SECONDS = 600
#: How long the keys of an unfinished batch stay after its last chunk.
DRAFT_SECONDS = 3600
# Little-endian on every machine.
_DTYPE = np.dtype("<f4")
_ROW = np.dtype((np.void, _DTYPE.itemsize * len(FEATURES)))
# PostgreSQL takes no such character in a text.
_ID_SEPARATOR = b"\0"


class MissingBatch(LookupError):
    """The store does not hold the batch: rebuild it from PostgreSQL."""


class MissingPassenger(LookupError):
    """The batch has no such passenger."""


class CorruptBatch(ValueError):
    """The store holds something else than was written."""


@dataclass(frozen=True)
class StoredBatch:
    """A batch in Redis: a list of ids and rows in the dataset's order, chunk by chunk, and a hash of id to row."""

    key_prefix: str
    checksum: str

    @classmethod
    def of(cls, batch_id: int, *, checksum: str) -> Self:
        """Name a published batch; with another definition or other content it has other keys, and is missing."""
        return cls(f"features:{batch_id}:{VERSION}:{checksum}", checksum)

    @property
    def keys(self) -> tuple[str, str]:
        """The keys of the chunks and of the rows."""
        return f"{self.key_prefix}:chunks", f"{self.key_prefix}:rows"

    def is_complete(self) -> bool:
        """Tell whether both keys exist, without reading them."""
        return bool(redis.client().exists(*self.keys) == len(self.keys))

    def matrix(self) -> Matrix:
        """Read all rows in the dataset's order, shape (n, number of FEATURES); raises MissingBatch, CorruptBatch."""
        rows = bytearray().join(rows for _ids, rows in self._chunks())
        return np.frombuffer(rows, dtype=_DTYPE).reshape(-1, len(FEATURES))

    def row(self, passenger_id: str) -> Matrix:
        """Look up one passenger, shape (number of FEATURES,); raises MissingPassenger, MissingBatch, CorruptBatch."""
        _chunks_key, rows_key = self.keys
        row = cast("bytes | None", redis.client().hget(rows_key, passenger_id))
        if row is None:
            raise MissingPassenger(passenger_id) if self.is_complete() else MissingBatch(self.key_prefix)
        if len(row) != _ROW.itemsize:
            raise CorruptBatch(f"the row of {passenger_id} in {rows_key} has {len(row)} bytes")
        return np.frombuffer(row, dtype=_DTYPE)

    def verify(self) -> None:
        """Compare every chunk with the checksum and the hash with the chunks; raises MissingBatch, CorruptBatch."""
        (_chunks_key, rows_key), row_count = self.keys, 0
        for joined_ids, rows in self._chunks():
            ids = joined_ids.split(_ID_SEPARATOR)
            if len(rows) != len(ids) * _ROW.itemsize or redis.client().hmget(rows_key, ids) != _split(rows):
                raise CorruptBatch(f"{rows_key} has other rows than the chunks")
            row_count += len(ids)
        if redis.client().hlen(rows_key) != row_count:
            raise CorruptBatch(f"{rows_key} has more rows than the chunks")

    def expire(self) -> None:
        """Remove the batch once those who are reading it have had time to finish."""
        with redis.client().pipeline(transaction=True) as pipeline:
            for key in self.keys:
                pipeline.expire(key, GRACE_SECONDS)
            pipeline.execute()

    def _chunks(self) -> Iterator[tuple[bytes, bytes]]:
        """Read the joined ids and the rows of each chunk; the checksum is compared at the end."""
        chunks_key, _rows_key = self.keys
        digest = _new_digest()
        for index in itertools.count(step=2):
            chunk = cast("list[bytes]", redis.client().lrange(chunks_key, index, index + 1))
            if not chunk:
                break
            for part in chunk:
                digest.update(part)
            yield chunk[0], chunk[-1]
        if index == 0:
            raise MissingBatch(self.key_prefix)
        if digest.hexdigest() != self.checksum:
            raise CorruptBatch(f"{chunks_key} does not have the checksum it was written with")


class Writer:
    """Writes a batch under draft keys, which expire unless they are published."""

    def __init__(self) -> None:
        self._key_prefix = f"features:draft:{secrets.token_hex(8)}"
        self._digest = _new_digest()

    @property
    def draft(self) -> StoredBatch:
        """What has been written so far; nobody else reads it."""
        return StoredBatch(self._key_prefix, self._digest.hexdigest())

    def add(self, ids: Sequence[str], matrix: Matrix) -> None:
        """Append rows, shape (n, number of FEATURES), with their passenger ids."""
        chunks_key, rows_key = self.draft.keys
        joined_ids, rows = _ID_SEPARATOR.join(map(str.encode, ids)), matrix.astype(_DTYPE, copy=False).tobytes()
        for part in (joined_ids, rows):
            self._digest.update(part)
        with redis.client().pipeline(transaction=False) as pipeline:
            pipeline.rpush(chunks_key, joined_ids, rows)
            pipeline.hset(rows_key, mapping=dict(zip(ids, _split(rows), strict=True)))
            for key in self.draft.keys:
                pipeline.expire(key, DRAFT_SECONDS)
            pipeline.execute()

    def publish(self, batch_id: int) -> StoredBatch:
        """Make the batch readable in one step; rows and chunks that it had before are replaced."""
        draft = self.draft
        published = StoredBatch.of(batch_id, checksum=draft.checksum)
        with redis.client().pipeline(transaction=True) as pipeline:
            for draft_key, key in zip(draft.keys, published.keys, strict=True):
                pipeline.rename(draft_key, key)
                pipeline.persist(key)
            pipeline.execute()
        return published


def _new_digest() -> "hashlib._Hash":
    return hashlib.sha256(json.dumps([VERSION, FEATURES]).encode())


def _split(rows: bytes) -> list[bytes]:
    """Split the rows of a chunk into the bytes of each."""
    row_bytes: list[bytes] = np.frombuffer(rows, dtype=_ROW).tolist()
    return row_bytes
