"""Shapley values, exact: every coalition of a few players is looked at.

Shapley (1953), "A value for n-person games". A coalition's worth here is the mean answer over background rows in which
its members have the explained row's values: the interventional expectation of Lundberg & Lee (2017).
"""

from functools import cache
from math import factorial

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@cache
def coalitions(count: int) -> NDArray[np.bool_]:
    """Who is in each coalition of so many players, shape (2 ** count, count); the first is empty, the last is all.

    >>> coalitions(2).tolist()
    [[False, False], [True, False], [False, True], [True, True]]
    """
    return np.array(np.arange(2**count)[:, None] >> np.arange(count) & 1, dtype=np.bool_)


@cache
def _weights(count: int) -> FloatArray:
    """What each coalition's worth counts for each player, shape (count, 2 ** count)."""
    members = coalitions(count)
    size = members.sum(axis=1)
    joined = np.array([factorial(s) * factorial(count - s - 1) / factorial(count) for s in range(count)])
    # With the player among them it is the worth after, without the worth before, the player comes.
    after, before = joined[np.maximum(size - 1, 0)], -joined[np.minimum(size, count - 1)]
    return np.where(members.T, after, before)


def values(worth: FloatArray) -> FloatArray:
    """Each player's share in what all are worth more than none, shape (players, n), from shape (2 ** players, n).

    >>> values(np.array([[0.0], [1.0], [2.0], [4.0]])).ravel().tolist()
    [1.5, 2.5]
    """
    return _weights(int(worth.shape[0]).bit_length() - 1) @ worth
