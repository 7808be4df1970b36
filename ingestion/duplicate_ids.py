"""Find duplicate ids with eight bytes each; a set of strings would take too much memory for a long table."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

# Number of leading bits of a hash that select its byte in the filter.
_SLOT_BITS = 24


class SeenIds:
    """Ids by their 64-bit hash, as sorted runs of growing length (a log-structured merge) behind a filter."""

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []
        self._is_taken = np.zeros(1 << _SLOT_BITS, dtype=bool)

    def is_new(self, ids: pl.Series) -> NDArray[np.bool_]:
        """Tell which of n ids are new, shape (n,), and remember all of them.

        Two different ids are taken for one with a probability of n² / 2⁶⁵: one in two million for four million rows.

        >>> seen = SeenIds()
        >>> seen.is_new(pl.Series(["1", "2", "1"])).tolist(), seen.is_new(pl.Series(["3", "2"])).tolist()
        ([True, True, False], [True, False])
        """
        hashes = ids.hash().to_numpy()
        new = ids.is_first_distinct().to_numpy().copy()
        slots = hashes >> np.uint64(64 - _SLOT_BITS)
        suspects = np.flatnonzero(self._is_taken[slots])
        self._is_taken[slots] = True
        for run in self._runs:
            index = np.minimum(np.searchsorted(run, hashes[suspects]), len(run) - 1)
            new[suspects[run[index] == hashes[suspects]]] = False
        self._add(np.sort(hashes[new]))
        return new

    def _add(self, run: NDArray[np.uint64]) -> None:
        while self._runs and len(self._runs[-1]) <= len(run):
            run = np.concatenate((self._runs.pop(), run))
            # A stable sort merges the two sorted halves.
            run.sort(kind="stable")
        if len(run):
            self._runs.append(run)
