"""What a table's columns look like: counts, missing values, quantiles, most frequent values, in one pass."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingestion.contract import Field

#: A column with more distinct values is described by a random sample of as many.
MOST_DISTINCT = 20_000
TOP_COUNT = 5
BIN_COUNT = 20
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


class Profile:
    """Takes a table's good rows, frame by frame, in bounded memory."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._columns = [_Column(field) for field in fields]

    def add(self, frame: pl.DataFrame) -> None:
        """Count typed rows in."""
        for column in self._columns:
            column.add(frame[column.field.name])

    def missing_shares(self) -> dict[str, float]:
        """The share of unknown values by column."""
        return {column.field.name: column.missing / max(column.count, 1) for column in self._columns}

    def result(self) -> dict[str, Any]:
        """By column: count, missing, distinct (None: too many to count), quantiles, histogram, top values."""
        return {column.field.name: column.result() for column in self._columns}


class _Column:
    def __init__(self, field: Field) -> None:
        self.field = field
        self.count = self.missing = 0
        self._total = 0.0
        self._counts: pl.DataFrame | None = pl.DataFrame(schema={"value": pl.Null, "n": pl.Int64})
        self._sample = _Sample(MOST_DISTINCT)

    def add(self, values: pl.Series) -> None:
        values = values.alias("value")
        known = values.drop_nulls()
        self.count += len(values)
        self.missing += len(values) - len(known)
        if self.field.is_numeric:
            self._total += float(known.sum())
            self._sample.add(known.cast(pl.Float64).to_numpy())
        if self._counts is not None:
            new = known.value_counts(name="n").cast({"n": pl.Int64})
            both = pl.concat([self._counts.cast({"value": known.dtype}), new])
            counts = both.group_by("value").agg(pl.col("n").sum())
            self._counts = counts if counts.height <= MOST_DISTINCT else None

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "count": self.count, "missing": self.missing, "distinct": None, "top": [],
        }  # fmt: skip
        if self._counts is not None:
            top = self._counts.sort(["n", "value"], descending=[True, False]).head(TOP_COUNT)
            found |= {"distinct": self._counts.height, "top": [[value, n] for value, n in top.iter_rows()]}
        if self.field.is_numeric and self.count > self.missing:
            values, weights = self._weighted()
            found["mean"] = self._total / (self.count - self.missing)
            found["quantiles"] = _quantiles(values, weights)
            found["histogram"] = np.histogram(values, bins=BIN_COUNT, weights=weights)[0].tolist()
        return found

    def _weighted(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self._counts is None:
            return np.sort(self._sample.values), np.ones(len(self._sample.values))
        counts = self._counts.sort("value")
        return counts["value"].cast(pl.Float64).to_numpy(), counts["n"].cast(pl.Float64).to_numpy()


class _Sample:
    """A uniform sample of a stream: the values with the smallest of random keys."""

    def __init__(self, size: int) -> None:
        self.values: NDArray[np.float64] = np.empty(0)
        self._keys: NDArray[np.float64] = np.empty(0)
        self._size = size
        self._rng = np.random.default_rng(0)

    def add(self, values: NDArray[np.float64]) -> None:
        keys = np.concatenate((self._keys, self._rng.random(len(values))))
        values = np.concatenate((self.values, values))
        if len(keys) > self._size:
            kept = np.argpartition(keys, self._size)[: self._size]
            keys, values = keys[kept], values[kept]
        self._keys, self.values = keys, values


def _quantiles(values: NDArray[np.float64], weights: NDArray[np.float64]) -> list[float]:
    """The smallest values that at least the share of the weight does not exceed."""
    reached = np.cumsum(weights) / weights.sum()
    places = np.searchsorted(reached, QUANTILES, side="left")
    return [float(value) for value in values[np.minimum(places, len(values) - 1)]]
