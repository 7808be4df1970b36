"""Which keys have been seen, in eight bytes each: a set of strings would outgrow the memory that a table is read in."""

import numpy as np
import polars as pl
from numpy.typing import NDArray


class SeenKeys:
    """Keys by their 64-bit hash, as sorted runs of growing length (a log-structured merge)."""

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []

    def is_new(self, keys: pl.Series) -> NDArray[np.bool_]:
        """Which of n keys are here for the first time, shape (n,); from now on they are all seen.

        Two different keys are taken for one with a probability of n² / 2⁶⁵: one in two million for four million rows.

        >>> seen = SeenKeys()
        >>> seen.is_new(pl.Series(["1", "2", "1"])).tolist(), seen.is_new(pl.Series(["3", "2"])).tolist()
        ([True, True, False], [True, False])
        """
        hashes = keys.hash().to_numpy()
        # In order, so that each run is gone through once.
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        is_new = np.concatenate(([True], ordered[1:] != ordered[:-1]))[: len(ordered)]
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, ordered), len(run) - 1)
            is_new &= run[places] != ordered
        self._add(ordered[is_new])
        new = np.empty(len(hashes), dtype=bool)
        new[order] = is_new
        return new

    def _add(self, run: NDArray[np.uint64]) -> None:
        while self._runs and len(self._runs[-1]) <= len(run):
            run = np.concatenate((self._runs.pop(), run))
            run.sort()
        if len(run):
            self._runs.append(run)
