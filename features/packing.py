"""Rows packed for look-ups: a million passengers as some ten thousand short strings, one of which has the answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.definition import FEATURES, Matrix

ROW_BYTES = 4 * len(FEATURES)
ROWS_PER_BUCKET = 16
# Sixteen-bit numbers are sorted by radix, in a tenth of the time of wider ones.
_MOST_BUCKETS = 2**16
#: More rows than this make another hash, which every look-up asks in the same round trip.
SEGMENT_ROWS = ROWS_PER_BUCKET * _MOST_BUCKETS
_WORD_BYTES = 8
_SEPARATOR = "\0"
_WORD, _HALF = 2**64 - 1, 32
_FACTOR = 0x9E3779B97F4A7C15

Keys = NDArray[np.bytes_]


class BadIds(ValueError):
    """Passenger ids that cannot be told apart once they are packed."""


def join_ids(ids: Sequence[str]) -> bytes:
    """Ids as one string; raises BadIds for one that is empty or has a zero character."""
    joined = _SEPARATOR.join(ids).encode()
    is_any_empty = not joined or joined[0] == 0 or joined[-1] == 0 or b"\0\0" in joined
    if is_any_empty or joined.count(b"\0") != len(ids) - 1:
        raise BadIds("a passenger id is empty or has a zero character in it")
    return joined


def keys_of(joined: bytes) -> Keys:
    """Joined ids apart again, in one width of whole words, shape (n,).

    >>> keys_of(join_ids(["1", "é"])).tolist(), keys_of(join_ids(["passenger 1"])).itemsize
    ([b'1', b'\xc3\xa9'], 16)
    """
    text = np.frombuffer(joined + _SEPARATOR.encode(), dtype=np.uint8)
    is_letter = text != 0
    lengths = np.diff(np.flatnonzero(~is_letter), prepend=-1) - 1
    words = -(-int(lengths.max()) // _WORD_BYTES)
    letters = np.zeros((len(lengths), words * _WORD_BYTES), dtype=np.uint8)
    letters[np.arange(letters.shape[1]) < lengths[:, np.newaxis]] = text[is_letter]
    return letters.view(f"S{letters.shape[1]}").ravel()


def bucket_count_for(row_count: int) -> int:
    """How many buckets so many rows get."""
    return max(1, min(-(-row_count // ROWS_PER_BUCKET), _MOST_BUCKETS))


def buckets_of(keys: Keys, *, bucket_count: int) -> NDArray[np.uint16]:
    """Which bucket each key belongs into, shape (n,): a multiplicative hash of its words."""
    words = keys.view("<u8").reshape(len(keys), -1)
    hashed = np.zeros(len(keys), dtype=np.uint64)
    for place in range(words.shape[1]):
        hashed = (hashed ^ words[:, place]) * np.uint64(_FACTOR)
        hashed ^= hashed >> np.uint64(_HALF)
    return ((hashed >> np.uint64(_HALF)) * np.uint64(bucket_count) >> np.uint64(_HALF)).astype(np.uint16)


def bucket_of(key: bytes, *, bucket_count: int) -> int:
    """The same of one key, in a tenth of the time that arrays of one take.

    >>> key = b"sixteen letters!"
    >>> [bucket_of(key, bucket_count=1000)] == buckets_of(keys_of(key), bucket_count=1000).tolist()
    True
    """
    hashed = 0
    for start in range(0, len(key), _WORD_BYTES):
        word = int.from_bytes(key[start : start + _WORD_BYTES], "little")
        hashed = ((hashed ^ word) * _FACTOR) & _WORD
        hashed ^= hashed >> _HALF
    return (hashed >> _HALF) * bucket_count >> _HALF


@dataclass(frozen=True)
class Shape:
    """What a reader must know of a packed segment."""

    id_bytes: int
    bucket_count: int

    def key(self, passenger_id: str) -> bytes:
        """The id as the packed rows have it; one that is too long for them equals none."""
        # Half a surrogate pair is no text that could have been stored.
        return passenger_id.encode(errors="surrogatepass").ljust(self.id_bytes, b"\0")

    def bucket(self, passenger_id: str) -> int:
        """Where to look for the id."""
        return bucket_of(self.key(passenger_id)[: self.id_bytes], bucket_count=self.bucket_count)

    def find(self, packed: bytes, passenger_id: str) -> bytes | None:
        """The id's row in its bucket; raises ValueError for a bucket that was cut off."""
        key, size = self.key(passenger_id), self.id_bytes + ROW_BYTES
        if len(packed) % size:
            raise ValueError(f"{len(packed)} bytes are no whole number of rows")
        if len(key) != self.id_bytes:
            return None
        start = packed.find(key)
        # What looks like the key may be numbers, or straddle two rows.
        while start % size and start > 0:
            start = packed.find(key, start + 1)
        return None if start < 0 else packed[start + self.id_bytes : start + size]


class Segment:
    """Collects rows with their ids, and packs them by bucket."""

    def __init__(self) -> None:
        self.row_count = 0
        self._keys: list[Keys] = []
        self._rows: list[Matrix] = []

    def add(self, joined: bytes, matrix: Matrix) -> None:
        """Take rows, shape (n, 11), and their joined ids."""
        self._keys.append(keys_of(joined))
        self._rows.append(matrix)
        self.row_count += len(matrix)

    @property
    def shape(self) -> Shape:
        return Shape(max(keys.itemsize for keys in self._keys), bucket_count_for(self.row_count))

    def packed(self) -> Iterator[tuple[int, bytes]]:
        """Each bucket that has rows: its number, and ids and rows side by side in the order they came in."""
        shape = self.shape
        records = np.empty(self.row_count, dtype=[("id", f"S{shape.id_bytes}"), ("row", "<f4", len(FEATURES))])
        start = 0
        for keys, rows in zip(self._keys, self._rows, strict=True):
            part = records[start : start + len(rows)]
            part["id"], part["row"] = keys, rows
            start += len(rows)
        # Of the records, not of the keys that came: their width is the widest chunk's.
        buckets = buckets_of(np.ascontiguousarray(records["id"]), bucket_count=shape.bucket_count)
        # As plain bytes, rows are copied much faster than field by field.
        plain = records.view(np.dtype((np.void, records.itemsize)))
        data = plain.take(np.argsort(buckets, kind="stable")).view(np.uint8).data
        ends = np.cumsum(np.bincount(buckets, minlength=shape.bucket_count)) * records.itemsize
        begin = 0
        for bucket, end in enumerate(ends.tolist()):
            if end > begin:
                yield bucket, bytes(data[begin:end])
            begin = end
