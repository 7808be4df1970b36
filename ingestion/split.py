"""Draw the hold-out: rows that no model learns from."""

import zlib
from collections.abc import Iterable
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

SHARE = 0.2
SEED = 42
# Groups are told apart by 20 bits of a checksum: enough for any number of groups here, and bounded memory.
BUCKET_COUNT = 1 << 20
_MAX_GROUP_SIZE_STRATUM = 4


class Split(TypedDict):
    """How a dataset was split; `train` and `holdout` count rows."""

    method: str
    seed: int
    train: int
    holdout: int


def buckets_of(groups: Iterable[bytes]) -> NDArray[np.int32]:
    """Hash each row's group to a bucket, shape (n,); the same on every machine."""
    codes = np.fromiter(map(zlib.crc32, groups), dtype=np.uint32)
    return (codes % BUCKET_COUNT).astype(np.int32)


def draw(labels: NDArray[np.bool_], buckets: NDArray[np.int32], *, seed: int = SEED) -> NDArray[np.bool_]:
    """Draw which of n rows are held out, shape (n,), by their labels and their groups' buckets.

    Groups stay whole, and are stratified by label and size; the order of the rows does not matter.

    >>> buckets = buckets_of(b"%d" % (row // 2) for row in range(100))
    >>> is_holdout = draw(np.array([True, False] * 50), buckets)
    >>> int(is_holdout.sum()), bool((is_holdout[::2] == is_holdout[1::2]).all())
    (20, True)
    """
    bucket_sizes = np.bincount(buckets, minlength=BUCKET_COUNT)
    groups = np.flatnonzero(bucket_sizes)
    sizes = bucket_sizes[groups]
    positive_share = np.bincount(buckets, weights=labels, minlength=BUCKET_COUNT)[groups] / sizes
    # Strata: no, some or all labels positive, by the size of the group up to four.
    strata = np.sign(positive_share) + np.floor(positive_share) + 3 * np.minimum(sizes, _MAX_GROUP_SIZE_STRATUM)
    order = np.random.default_rng(seed).permutation(len(groups))
    is_holdout = np.zeros(BUCKET_COUNT, dtype=bool)
    for stratum in np.unique(strata):
        members = order[strata[order] == stratum]
        before = np.cumsum(sizes[members]) - sizes[members]
        is_holdout[groups[members]] = before + sizes[members] / 2 < SHARE * sizes[members].sum()
    return is_holdout[buckets]
