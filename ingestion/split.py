"""The hold-out: rows that no model learns from."""

import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

SHARE = 0.2
SEED = 42
_LARGEST_GROUP_TOLD_APART = 4


def group_codes(names: Iterable[bytes]) -> NDArray[np.uint32]:
    """A number for each row's group, the same on every machine; two groups may share one, which does no harm."""
    return np.fromiter(map(zlib.crc32, names), dtype=np.uint32)


def holdout(
    labels: NDArray[np.bool_], groups: NDArray[np.uint32], *, share: float = SHARE, seed: int = SEED
) -> NDArray[np.bool_]:
    """Which of n rows are held out, shape (n,): whole groups, stratified by outcome and group size.

    The order of the rows does not matter, only what is in them.

    >>> rows = holdout(np.array([True, False] * 50), np.arange(100) // 2, share=0.2, seed=1)
    >>> int(rows.sum()), bool((rows[::2] == rows[1::2]).all())
    (20, True)
    """
    _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    shares = np.bincount(group_of, weights=labels) / sizes
    # Nobody, some, everybody survived; a group of four and more is "large".
    strata = np.sign(shares) + np.floor(shares) + 3 * np.minimum(sizes, _LARGEST_GROUP_TOLD_APART)
    order = np.random.default_rng(seed).permutation(len(sizes))
    held = np.zeros(len(sizes), dtype=bool)
    for stratum in np.unique(strata):
        members = order[strata[order] == stratum]
        before = np.cumsum(sizes[members]) - sizes[members]
        held[members] = before + sizes[members] / 2 < share * sizes[members].sum()
    return held[group_of]
