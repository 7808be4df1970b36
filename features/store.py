"""The feature store: packed batches in Redis, each under its own keys, whole or not there at all."""

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from features.definition import FEATURES, VERSION, Matrix
from titanic_site.lib import redis

ROWS_PER_BUCKET = 500
_ROW_BYTES = 4 * len(FEATURES)
_CURRENT = "features:current"


class MissingBatch(LookupError):
    """The store does not hold the batch: rebuild it from Postgres."""


class MissingPassenger(LookupError):
    """The batch has no such passenger."""


class CorruptBatch(ValueError):
    """What the store holds is not what was written."""


@dataclass(frozen=True)
class Meta:
    """What a batch says of itself."""

    names: tuple[str, ...]
    definition_version: str
    row_count: int
    chunk_count: int
    bucket_count: int
    checksum: str


class Writer:
    """Writes one batch chunk by chunk; nobody reads it before `close` has written its meta."""

    def __init__(self, batch_id: int, *, row_count: int) -> None:
        self._keys = _Keys(batch_id)
        self._bucket_count = max(1, -(-row_count // ROWS_PER_BUCKET))
        self._digest = hashlib.sha256(json.dumps([VERSION, FEATURES]).encode())
        self._row_count = self._chunk_count = 0
        delete(batch_id)

    def add(self, ids: Sequence[str], matrix: Matrix) -> None:
        """Append rows, shape (n, 11), with their passenger ids."""
        data = matrix.astype("<f4").tobytes()
        self._digest.update("\n".join(ids).encode() + b"\0" + data)
        buckets: dict[int, dict[str | bytes, bytes | float | int | str]] = {}
        for row, passenger_id in enumerate(ids):
            place = slice(row * _ROW_BYTES, (row + 1) * _ROW_BYTES)
            buckets.setdefault(_bucket(passenger_id, self._bucket_count), {})[passenger_id] = data[place]
        with redis.client().pipeline(transaction=False) as pipeline:
            pipeline.set(self._keys.chunk(self._chunk_count), data)
            for bucket, rows in buckets.items():
                pipeline.hset(self._keys.bucket(bucket), mapping=rows)
            pipeline.execute()
        self._chunk_count += 1
        self._row_count += len(ids)

    def close(self) -> Meta:
        """Make the batch readable."""
        checksum = self._digest.hexdigest()
        meta = Meta(FEATURES, VERSION, self._row_count, self._chunk_count, self._bucket_count, checksum)
        redis.client().set(self._keys.meta, json.dumps(asdict(meta)))
        return meta


class _Keys:
    """The names of one batch's keys."""

    def __init__(self, batch_id: int) -> None:
        self._prefix = f"features:{batch_id}"
        self.meta = f"{self._prefix}:meta"

    def chunk(self, number: int) -> str:
        return f"{self._prefix}:chunk:{number}"

    def bucket(self, number: int) -> str:
        return f"{self._prefix}:rows:{number}"


def _bucket(passenger_id: str, bucket_count: int) -> int:
    return zlib.crc32(passenger_id.encode()) % bucket_count


def meta(batch_id: int) -> Meta:
    """What the batch says of itself; raises MissingBatch, or CorruptBatch for another definition."""
    text = redis.client().get(_Keys(batch_id).meta)
    if text is None:
        raise MissingBatch(batch_id)
    fields = json.loads(text)
    found = Meta(**{**fields, "names": tuple(fields["names"])})
    if (found.names, found.definition_version) != (FEATURES, VERSION):
        raise CorruptBatch(f"batch {batch_id} was made by definition {found.definition_version}, this is {VERSION}")
    return found


def matrix(batch_id: int) -> Matrix:
    """All rows of a batch in the dataset's order, shape (n, 11); raises MissingBatch or CorruptBatch."""
    about = meta(batch_id)
    keys = [_Keys(batch_id).chunk(number) for number in range(about.chunk_count)]
    chunks = redis.client().mget(keys) if keys else []
    data = b"".join(chunk for chunk in chunks if chunk is not None)
    if None in chunks:
        raise MissingBatch(batch_id)
    if len(data) != about.row_count * _ROW_BYTES:
        raise CorruptBatch(f"batch {batch_id} has {len(data)} bytes for {about.row_count} rows")
    return np.frombuffer(data, dtype="<f4").reshape(-1, len(FEATURES)).astype(np.float32)


def rows(batch_id: int, passenger_ids: Sequence[str]) -> Matrix:
    """The features of some passengers in one round trip, shape (n, 11); raises MissingPassenger by name."""
    keys, about = _Keys(batch_id), meta(batch_id)
    with redis.client().pipeline(transaction=False) as pipeline:
        for passenger_id in passenger_ids:
            pipeline.hget(keys.bucket(_bucket(passenger_id, about.bucket_count)), passenger_id)
        found = pipeline.execute()
    for passenger_id, data in zip(passenger_ids, found, strict=True):
        if data is None:
            raise MissingPassenger(passenger_id)
        if len(data) != _ROW_BYTES:
            raise CorruptBatch(f"passenger {passenger_id} of batch {batch_id} has {len(data)} bytes")
    return np.frombuffer(b"".join(found), dtype="<f4").reshape(-1, len(FEATURES)).astype(np.float32)


def switch(batch_id: int) -> None:
    """Make a batch the one that readers get, in one step."""
    redis.client().set(_CURRENT, batch_id)


def current() -> int:
    """The batch that readers get; raises MissingBatch when there is none."""
    batch_id = redis.client().get(_CURRENT)
    if batch_id is None:
        raise MissingBatch("current")
    return int(batch_id)


def delete(batch_id: int) -> None:
    """Take a batch out of the store; its meta goes first, so that nobody reads the rest."""
    client = redis.client()
    client.unlink(_Keys(batch_id).meta)
    for key in client.scan_iter(f"features:{batch_id}:*", count=1000):
        client.unlink(key)
