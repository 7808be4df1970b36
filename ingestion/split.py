"""The hold-out: rows that no model learns from."""

import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

SHARE = 0.2
SEED = 42
# Groups are told apart by so many bits of a checksum: enough for every ticket of a ship, and bounded for any table.
BUCKET_COUNT = 1 << 20
_LARGEST_GROUP_TOLD_APART = 4


def buckets_of(groups: Iterable[bytes]) -> NDArray[np.int32]:
    """Each row's bucket, shape (n,): the same for all of a group, and on every machine."""
    codes = np.fromiter(map(zlib.crc32, groups), dtype=np.uint32)
    return (codes % BUCKET_COUNT).astype(np.int32)


class Holdout:
    """Takes labels and groups of a whole table, then tells which groups are held out.

    Whole groups are, stratified by outcome and size; the order of the rows does not matter, only what is in them.

    >>> holdout = Holdout()
    >>> buckets = buckets_of(b"%d" % (row // 2) for row in range(100))
    >>> holdout.count(np.array([True, False] * 50), buckets)
    >>> held = holdout.draw(share=0.2, seed=1)[buckets]
    >>> int(held.sum()), bool((held[::2] == held[1::2]).all())
    (20, True)
    """

    def __init__(self) -> None:
        self._sizes = np.zeros(BUCKET_COUNT, dtype=np.int64)
        self._positives = np.zeros(BUCKET_COUNT)

    def count(self, labels: NDArray[np.bool_], buckets: NDArray[np.int32]) -> None:
        """Note the labels and the buckets of n rows."""
        self._sizes += np.bincount(buckets, minlength=BUCKET_COUNT)
        self._positives += np.bincount(buckets, weights=labels, minlength=BUCKET_COUNT)

    def draw(self, *, share: float = SHARE, seed: int = SEED) -> NDArray[np.bool_]:
        """Which buckets are held out, shape (BUCKET_COUNT,)."""
        is_held = np.zeros(BUCKET_COUNT, dtype=bool)
        groups = np.flatnonzero(self._sizes)
        sizes = self._sizes[groups]
        survival = self._positives[groups] / sizes
        # Nobody, some, everybody survived; a group of four and more is "large".
        strata = np.sign(survival) + np.floor(survival) + 3 * np.minimum(sizes, _LARGEST_GROUP_TOLD_APART)
        order = np.random.default_rng(seed).permutation(len(groups))
        for stratum in np.unique(strata):
            members = order[strata[order] == stratum]
            before = np.cumsum(sizes[members]) - sizes[members]
            is_held[groups[members]] = before + sizes[members] / 2 < share * sizes[members].sum()
        return is_held
