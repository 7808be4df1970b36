"""The feature store: packed batches in Redis, each under keys of its own, whole or not there at all.

A batch lies there twice: in chunks of its matrix, for who wants every row, and in hashes of packed rows, for who wants
one. Nobody finds either before the meta says where they are, and the meta is written last.
"""

import hashlib
import itertools
import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import redis
from features.definition import FEATURES, VERSION, Matrix
from features.packing import ROW_BYTES, SEGMENT_ROWS, Segment, Shape, join_ids

#: How long a reader in the middle of a batch that expires may go on, and how long an unfinished one lies about.
GRACE_SECONDS = 600
_DRAFT_SECONDS = 3600
_BUCKETS_PER_COMMAND = 2048
# The numbers as they lie in Redis, whatever machine wrote them.
_DTYPE = np.dtype("<f4")
_CURRENT = "features:current"


class MissingBatch(LookupError):
    """The store does not hold the batch: rebuild it from Postgres."""


class MissingPassenger(LookupError):
    """The batch has no such passenger."""


class CorruptBatch(ValueError):
    """What the store holds is not what was written."""


@dataclass(frozen=True)
class Meta:
    """What a batch says of itself; `key_prefix` is the prefix of its keys, another one each time that it is written."""

    key_prefix: str
    names: tuple[str, ...]
    dtype: str
    definition_version: str
    row_count: int
    chunk_rows: tuple[int, ...]
    segments: tuple[Shape, ...]
    checksum: str

    @property
    def keys(self) -> list[str]:
        """Every key of the batch but the meta's own."""
        chunks = range(len(self.chunk_rows))
        rows = [_rows_key(self.key_prefix, number) for number in range(len(self.segments))]
        return [
            *(_chunk_key(self.key_prefix, n) for n in chunks),
            *(_ids_key(self.key_prefix, n) for n in chunks),
            *rows,
        ]


def _meta_key(batch_id: int) -> str:
    return f"features:{batch_id}:meta"


def _chunk_key(key_prefix: str, number: int) -> str:
    return f"{key_prefix}:chunk:{number}"


def _ids_key(key_prefix: str, number: int) -> str:
    return f"{key_prefix}:ids:{number}"


def _rows_key(key_prefix: str, number: int) -> str:
    return f"{key_prefix}:rows:{number}"


class Writer:
    """Writes one batch chunk by chunk; what is never published goes by itself."""

    def __init__(self, batch_id: int) -> None:
        self._key_prefix = f"features:{batch_id}:{secrets.token_hex(4)}"
        self._digest = _new_digest()
        self._chunk_rows: list[int] = []
        self._shapes: list[Shape] = []
        self._segment = Segment()

    def add(self, ids: Sequence[str], matrix: Matrix) -> None:
        """Append rows, shape (n, 11), with their passenger ids."""
        joined, data = join_ids(ids), matrix.astype(_DTYPE, copy=False).tobytes()
        _digest_chunk(self._digest, joined, data)
        number = len(self._chunk_rows)
        with redis.client().pipeline(transaction=False) as pipeline:
            pipeline.set(_chunk_key(self._key_prefix, number), data, ex=_DRAFT_SECONDS)
            pipeline.set(_ids_key(self._key_prefix, number), joined, ex=_DRAFT_SECONDS)
            pipeline.execute()
        self._chunk_rows.append(len(ids))
        self._segment.add(joined, matrix)
        if self._segment.row_count >= SEGMENT_ROWS:
            self._write_segment()

    def finish(self) -> Meta:
        """The meta of the batch as it lies in Redis, read back and checked; nobody sees it before `publish`."""
        meta = self.close()
        verify(meta)
        return meta

    def close(self) -> Meta:
        """Write what is left, and say what was written; `finish` trusts nothing and reads it back."""
        if self._segment.row_count:
            self._write_segment()
        return Meta(
            key_prefix=self._key_prefix,
            names=FEATURES,
            dtype=_DTYPE.str,
            definition_version=VERSION,
            row_count=sum(self._chunk_rows),
            chunk_rows=tuple(self._chunk_rows),
            segments=tuple(self._shapes),
            checksum=self._digest.hexdigest(),
        )

    def _write_segment(self) -> None:
        key, client = _rows_key(self._key_prefix, len(self._shapes)), redis.client()
        packed = self._segment.packed()
        while some := dict(itertools.islice(packed, _BUCKETS_PER_COMMAND)):
            client.hset(key, mapping=some)
        client.expire(key, _DRAFT_SECONDS)
        self._shapes.append(self._segment.shape)
        self._segment = Segment()


def _new_digest() -> Any:
    return hashlib.sha256(json.dumps([VERSION, FEATURES]).encode())


def _digest_chunk(digest: Any, joined: bytes, data: bytes) -> None:
    digest.update(joined.replace(b"\0", b"\n") + b"\0")
    digest.update(data)


def publish(batch_id: int, meta: Meta) -> None:
    """Make a written batch readable, in one step; what was there of it before goes when its readers are done."""
    client = redis.client()
    before = client.get(_meta_key(batch_id))
    with client.pipeline(transaction=True) as pipeline:
        for key in meta.keys:
            pipeline.persist(key)
        pipeline.set(_meta_key(batch_id), json.dumps(asdict(meta)))
        if before is not None:
            _expire(pipeline, sorted(set(_keys_before(batch_id, before)) - {*meta.keys, _meta_key(batch_id)}))
        pipeline.execute()
    # What was there before may be what was wrong.
    _seen.metas[batch_id] = meta


def _keys_before(batch_id: int, text: bytes) -> list[str]:
    """The keys that a batch's meta speaks of; of one that an earlier version wrote, whatever has its number."""
    try:
        return _parse(batch_id, text).keys
    except CorruptBatch:
        return [key.decode() for key in redis.client().scan_iter(f"features:{batch_id}:*", count=1000)]


def verify(meta: Meta) -> None:
    """Read a whole batch back; raises MissingBatch or CorruptBatch where it is not what its checksum says."""
    digest, segment, number = _new_digest(), Segment(), 0
    for joined, data in _chunks(meta):
        _digest_chunk(digest, joined, data)
        segment.add(joined, np.frombuffer(data, dtype=_DTYPE).reshape(-1, len(FEATURES)))
        if segment.row_count >= SEGMENT_ROWS:
            _verify_segment(meta, number, segment)
            segment, number = Segment(), number + 1
    if segment.row_count:
        _verify_segment(meta, number, segment)
    if digest.hexdigest() != meta.checksum:
        raise CorruptBatch(f"{meta.key_prefix} does not have the checksum it was written with")


def _chunks(meta: Meta) -> Iterator[tuple[bytes, bytes]]:
    for number, row_count in enumerate(meta.chunk_rows):
        joined, data = redis.client().mget(_ids_key(meta.key_prefix, number), _chunk_key(meta.key_prefix, number))
        if joined is None or data is None:
            raise MissingBatch(meta.key_prefix)
        if len(data) != row_count * ROW_BYTES or joined.count(b"\0") != row_count - 1:
            raise CorruptBatch(f"chunk {number} of {meta.key_prefix} is not of {row_count} rows")
        yield joined, data


def _verify_segment(meta: Meta, number: int, segment: Segment) -> None:
    """Compare the packed rows with what packing the chunks gives."""
    key, packed, bucket_count = _rows_key(meta.key_prefix, number), segment.packed(), 0
    while some := dict(itertools.islice(packed, _BUCKETS_PER_COMMAND)):
        if redis.client().hmget(key, list(some)) != list(some.values()):
            raise CorruptBatch(f"{key} is not what was written")
        bucket_count += len(some)
    if redis.client().hlen(key) != bucket_count:
        raise CorruptBatch(f"{key} has buckets that nobody wrote")


def meta(batch_id: int) -> Meta:
    """What the batch says of itself; raises MissingBatch, or CorruptBatch for another definition."""
    text = redis.client().get(_meta_key(batch_id))
    if text is None:
        _seen.metas.pop(batch_id, None)
        raise MissingBatch(batch_id)
    found = _parse(batch_id, text)
    if (found.names, found.definition_version) != (FEATURES, VERSION):
        raise CorruptBatch(f"batch {batch_id} was made by definition {found.definition_version}, this is {VERSION}")
    _seen.metas[batch_id] = found
    return found


def _parse(batch_id: int, text: bytes) -> Meta:
    try:
        fields = json.loads(text)
        shapes = tuple(Shape(**shape) for shape in fields["segments"])
        lists = {"names": tuple(fields["names"]), "chunk_rows": tuple(fields["chunk_rows"]), "segments": shapes}
        return Meta(**{**fields, **lists})
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptBatch(f"the meta of batch {batch_id} cannot be read: {error}") from error


class _Seen:
    """What this process knows of batches: they never change, so a look-up need not ask again."""

    def __init__(self) -> None:
        self.metas: dict[int, Meta] = {}
        self.current: int | None = None


_seen = _Seen()


def is_complete(batch_id: int, *, checksum: str) -> bool:
    """Whether the batch, and no other of that number, has all its keys; cheap, as it reads none of them."""
    try:
        found = meta(batch_id)
    except (MissingBatch, CorruptBatch):
        return False
    return found.checksum == checksum and redis.client().exists(*found.keys) == len(found.keys)


def matrix(batch_id: int) -> Matrix:
    """All rows of a batch in the dataset's order, shape (n, 11); raises MissingBatch or CorruptBatch."""
    about, client = meta(batch_id), redis.client()
    found = np.empty(about.row_count * ROW_BYTES, dtype=np.uint8)
    start = 0
    for number, row_count in enumerate(about.chunk_rows):
        data = client.get(_chunk_key(about.key_prefix, number))
        if data is None:
            raise MissingBatch(batch_id)
        if len(data) != row_count * ROW_BYTES:
            raise CorruptBatch(f"chunk {number} of batch {batch_id} has {len(data)} bytes for {row_count} rows")
        found[start : start + len(data)] = np.frombuffer(data, dtype=np.uint8)
        start += len(data)
    return _as_matrix(found)


def sample(batch_id: int, *, count: int, seed: int, among: NDArray[np.int64] | None = None) -> Matrix:
    """Up to `count` rows drawn without replacement, in the dataset's order: the same seed draws the same rows.

    `among` names the rows to draw from by their place; all of them when it is left out.
    """
    about = meta(batch_id)
    places = np.arange(about.row_count) if among is None else among
    # Of numpy's generators the one whose numbers no release may change.
    drawn = np.sort(np.random.RandomState(seed).permutation(places)[:count])
    ends = np.cumsum(about.chunk_rows)
    chunks = np.searchsorted(ends, drawn, side="right")
    starts = (drawn - np.concatenate(([0], ends))[chunks]) * ROW_BYTES
    with redis.client().pipeline(transaction=False) as pipeline:
        for chunk, start in zip(chunks.tolist(), starts.tolist(), strict=True):
            pipeline.getrange(_chunk_key(about.key_prefix, chunk), start, start + ROW_BYTES - 1)
        found = pipeline.execute()
    if b"" in found:
        raise MissingBatch(batch_id)
    if any(len(row) != ROW_BYTES for row in found):
        raise CorruptBatch(f"batch {batch_id} has a chunk that was cut off")
    return _as_matrix(bytearray().join(found))


def rows(batch_id: int, passenger_ids: Sequence[str]) -> Matrix:
    """The features of some passengers in one round trip, shape (n, 11); raises MissingPassenger by name."""
    _refuse_impossible(passenger_ids)
    known = _seen.metas.get(batch_id)
    if known is not None:
        found = _found(known, passenger_ids, redis.execute(*_questions(known, passenger_ids)))
        if None not in found:
            return _joined(found)
    # Written anew since this process saw it, expired, or there is no such passenger: the meta tells.
    about = meta(batch_id)
    found = _found(about, passenger_ids, redis.execute(*_questions(about, passenger_ids)))
    if None in found:
        if not is_complete(batch_id, checksum=about.checksum):
            raise MissingBatch(batch_id)
        raise MissingPassenger(passenger_ids[found.index(None)])
    return _joined(found)


def current_rows(passenger_ids: Sequence[str]) -> Matrix:
    """The same from the current batch; one round trip tells too whether it still is the current one."""
    _refuse_impossible(passenger_ids)
    batch_id = _seen.current
    about = _seen.metas.get(batch_id) if batch_id is not None else None
    if about is not None:
        pointer, *replies = redis.execute(("GET", _CURRENT), *_questions(about, passenger_ids))
        if pointer is not None and int(pointer) == batch_id:
            found = _found(about, passenger_ids, replies)
            if None not in found:
                return _joined(found)
    _seen.current = current()
    return rows(_seen.current, passenger_ids)


def _refuse_impossible(passenger_ids: Sequence[str]) -> None:
    """Zeros fill short ids up: an id that has one, or is nothing else, is nobody's."""
    for passenger_id in passenger_ids:
        if not passenger_id or "\0" in passenger_id:
            raise MissingPassenger(passenger_id)


def _questions(about: Meta, passenger_ids: Sequence[str]) -> list[tuple[Any, ...]]:
    return [
        ("HMGET", _rows_key(about.key_prefix, number), *map(shape.bucket, passenger_ids))
        for number, shape in enumerate(about.segments)
        if passenger_ids
    ]


def _found(about: Meta, passenger_ids: Sequence[str], replies: Sequence[list[bytes | None]]) -> list[bytes | None]:
    """Each passenger's packed row, or None."""
    found: list[bytes | None] = [None] * len(passenger_ids)
    for shape, buckets in zip(about.segments, replies, strict=False):
        for index, (passenger_id, packed) in enumerate(zip(passenger_ids, buckets, strict=True)):
            if packed is None:
                continue
            try:
                found[index] = found[index] or shape.find(packed, passenger_id)
            except ValueError as error:
                raise CorruptBatch(f"a bucket of {about.key_prefix} was cut off: {error}") from error
    return found


def _joined(found: Sequence[bytes | None]) -> Matrix:
    return _as_matrix(bytearray().join(row for row in found if row is not None))


def _as_matrix(data: bytearray | NDArray[np.uint8]) -> Matrix:
    return np.frombuffer(data, dtype=_DTYPE).reshape(-1, len(FEATURES))


def set_current(batch_id: int) -> None:
    """Make a batch the one that readers get, in one step."""
    redis.client().set(_CURRENT, batch_id)


def current() -> int:
    """The batch that readers get; raises MissingBatch when there is none."""
    batch_id = redis.client().get(_CURRENT)
    if batch_id is None:
        raise MissingBatch("current")
    return int(batch_id)


def expire(batch_id: int) -> None:
    """Let a batch go, once those who are in the middle of reading it are done."""
    client = redis.client()
    text = client.get(_meta_key(batch_id))
    if text is None:
        return
    with client.pipeline(transaction=True) as pipeline:
        _expire(pipeline, [*_keys_before(batch_id, text), _meta_key(batch_id)])
        pipeline.execute()


def _expire(pipeline: Any, keys: Sequence[str]) -> None:
    for key in keys:
        pipeline.expire(key, GRACE_SECONDS)
