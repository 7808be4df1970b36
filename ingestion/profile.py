"""Profile a table's columns in one pass: counts, missing values, quantiles, most frequent values."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingestion.contract import Field, Value

#: A column with more distinct values is described by a random sample of this size.
MAX_DISTINCT = 20_000
TOP_COUNT = 5
BIN_COUNT = 20
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


class ColumnProfile(TypedDict):
    """Profile of one column; the last three are of numbers only, `distinct` is None beyond `MAX_DISTINCT`."""

    count: int
    missing: int
    distinct: int | None
    top: list[tuple[Value, int]]
    mean: NotRequired[float]
    quantiles: NotRequired[list[float]]
    histogram: NotRequired[list[float]]


class Profile:
    """Collects the profile of a table's valid rows, frame by frame, in bounded memory."""

    def __init__(self, fields: Sequence[Field], *, top_count: int = TOP_COUNT) -> None:
        self._columns = [_Column(field, top_count) for field in fields]

    def add(self, frame: pl.DataFrame) -> None:
        """Count typed rows in."""
        for column in self._columns:
            column.add(frame[column.field.name])

    def missing_shares(self) -> dict[str, float]:
        """Return the share of unknown values by column."""
        return {column.field.name: column.missing / max(column.count, 1) for column in self._columns}

    def result(self) -> dict[str, ColumnProfile]:
        """Return the profile by column."""
        return {column.field.name: column.result() for column in self._columns}


class _Column:
    def __init__(self, field: Field, top_count: int) -> None:
        self.field = field
        self._top_count = top_count
        self.count = self.missing = 0
        self._total = 0.0
        self._counts: pl.DataFrame | None = pl.DataFrame(schema={"value": pl.Null, "n": pl.Int64})
        self._sample = _Sample(MAX_DISTINCT)

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
            self._counts = counts if counts.height <= MAX_DISTINCT else None

    def result(self) -> ColumnProfile:
        profile: ColumnProfile = {"count": self.count, "missing": self.missing, "distinct": None, "top": []}
        if self._counts is not None:
            top = self._counts.sort(["n", "value"], descending=[True, False]).head(self._top_count)
            profile["distinct"] = self._counts.height
            profile["top"] = top.rows()
        if self.field.is_numeric and self.count > self.missing:
            if self._counts is None:
                values = np.sort(self._sample.values)
                weights = np.ones(len(values))
            else:
                counts = self._counts.sort("value").cast(pl.Float64)
                values, weights = counts["value"].to_numpy(), counts["n"].to_numpy()
            # The smallest value below or at which at least that share of the weight lies.
            reached = np.searchsorted(np.cumsum(weights) / weights.sum(), QUANTILES, side="left")
            profile["mean"] = self._total / (self.count - self.missing)
            profile["quantiles"] = values[np.minimum(reached, len(values) - 1)].tolist()
            profile["histogram"] = np.histogram(values, bins=BIN_COUNT, weights=weights)[0].tolist()
        return profile


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
            smallest = np.argpartition(keys, self._size)[: self._size]
            keys, values = keys[smallest], values[smallest]
        self._keys, self.values = keys, values
