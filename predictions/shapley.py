"""Shapley values of an answer's inputs: exact for a few inputs, sampled beyond.

Shapley (1953), "A value for n-person games". A coalition's worth here is the mean answer over background rows in which
its members have the explained row's values: the interventional expectation of Lundberg & Lee (2017). Sampled values are
the mean over random orders of the inputs, each with its reverse (Castro et al., 2009; Mitchell et al., 2022).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import factorial
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Columns = Mapping[str, NDArray[Any]]

#: Up to this many inputs every coalition is scored.
MAX_EXACT = 12
#: Beyond it a sample of about as many coalitions.
MAX_COALITIONS = 2**MAX_EXACT
# How many rows are scored at a time.
_MAX_ROWS = 65_536
_SEED = 1953


class Design(NamedTuple):
    """The coalitions to score, the empty one first, and what the worth of each counts for each player.

    Shapes: members (coalitions, players), weights (players, coalitions).
    """

    method: Literal["exact", "sampled"]
    members: NDArray[np.bool_]
    weights: FloatArray

    def values(self, worth: FloatArray) -> FloatArray:
        """Divide what all players are worth more than none among them, shape (players,), from (coalitions,).

        >>> exact(2).values(np.array([0.0, 1.0, 2.0, 4.0])).tolist()
        [1.5, 2.5]
        """
        return self.weights @ worth


def design(count: int) -> Design:
    """Choose the coalitions of so many players: all of them, or a sample of bounded size."""
    return exact(count) if count <= MAX_EXACT else sampled(count)


@cache
def exact(count: int) -> Design:
    """Take every coalition of so many players.

    >>> exact(2).members.tolist()
    [[False, False], [True, False], [False, True], [True, True]]
    """
    members = np.array(np.arange(2**count)[:, None] >> np.arange(count) & 1, dtype=np.bool_)
    size = members.sum(axis=1)
    joined = np.array([factorial(s) * factorial(count - s - 1) / factorial(count) for s in range(count)])
    # A coalition with the player is the worth after the player joins, one without it the worth before.
    after, before = joined[np.maximum(size - 1, 0)], -joined[np.minimum(size, count - 1)]
    return Design("exact", members, np.where(members.T, after, before))


@cache
def sampled(count: int, max_coalitions: int = MAX_COALITIONS) -> Design:
    """Take the coalitions that grow player by player along random orders, the same ones each time.

    Along each order the gains add up to what all are worth more than none: so do their means.
    """
    random = np.random.default_rng(_SEED)
    pair_count = max(max_coalitions // (2 * count), 1)
    orders = []
    for _ in range(pair_count):
        order = random.permutation(count)
        orders += [order, order[::-1]]
    members = np.zeros((len(orders) * count + 1, count), dtype=np.bool_)
    weights = np.zeros((count, len(members)))
    for start, order in zip(range(1, len(members), count), orders, strict=True):
        for place, player in enumerate(order):
            row = start + place
            members[row, order[: place + 1]] = True
            weights[player, row] += 1 / len(orders)
            weights[player, row - 1 if place else 0] -= 1 / len(orders)
    return Design("sampled", members, weights)


def explain(
    score: Callable[[Columns], FloatArray], inputs: Sequence[Sequence[str]], row: Columns, background: Columns
) -> tuple[float, FloatArray]:
    """Explain one row against background rows: the mean answer to these, and each input's share, shape (inputs,).

    An input is one or more columns that are known or unknown together. `row` has columns of one value, `background`
    of m values; `score` answers n rows of columns with shape (n,).
    """
    chosen, row_count = design(len(inputs)), len(next(iter(background.values())))
    worths = []
    step = max(_MAX_ROWS // row_count, 1)
    for start in range(0, len(chosen.members), step):
        members = chosen.members[start : start + step]
        # Shape (coalitions, background), in one line for the features.
        columns = {
            name: np.where(members[:, player, None], row[name], background[name]).ravel()
            for player, names in enumerate(inputs)
            for name in names
        }
        worths.append(score(columns).reshape(len(members), row_count).mean(axis=1))
    worth = np.concatenate(worths)
    return float(worth[0]), chosen.values(worth)
