"""The hold-out: rows that no model learns from."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_LARGEST_GROUP_TOLD_APART = 4


def holdout(labels: NDArray[np.bool_], groups: Sequence[str | None], *, share: float, seed: int) -> NDArray[np.bool_]:
    """Which of n rows are held out, shape (n,): whole groups, stratified by outcome and group size.

    A group of None stands alone. The order of the rows does not matter, only what is in them.

    >>> rows = holdout(np.array([True, False] * 50), [str(i // 2) for i in range(100)], share=0.2, seed=1)
    >>> int(rows.sum()), bool((rows[::2] == rows[1::2]).all())
    (20, True)
    """
    names = [f"t{name}" if name is not None else f"r{row}" for row, name in enumerate(groups)]
    _, group_of, sizes = np.unique(names, return_inverse=True, return_counts=True)
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
