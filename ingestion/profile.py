"""Profile a table's columns in one pass: counts, missing values, quantiles, most frequent values."""

from typing import NotRequired, TypedDict

import numpy as np
import polars as pl

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


class ColumnProfiler:
    """Collects the profile of one column, part by part, in bounded memory."""

    def __init__(self, field: Field, *, top_count: int = TOP_COUNT) -> None:
        self.field = field
        self._top_count = top_count
        self._count = self._missing = 0
        self._total = 0.0
        # None when there were more distinct values than `MAX_DISTINCT`.
        self._counts: pl.DataFrame | None = pl.DataFrame(schema={"value": pl.Null, "n": pl.Int64})
        # A uniform sample: the values with the smallest of random keys.
        self._sample = pl.DataFrame(schema={"value": pl.Float64, "key": pl.Float64})
        self._rng = np.random.default_rng(0)

    def add(self, values: pl.Series) -> None:
        """Count more typed values."""
        known = values.alias("value").drop_nulls()
        self._count += len(values)
        self._missing += len(values) - len(known)
        if self.field.is_numeric:
            self._total += float(known.sum())
            keyed = pl.DataFrame({"value": known.cast(pl.Float64), "key": self._rng.random(len(known))})
            self._sample = pl.concat([self._sample, keyed]).bottom_k(MAX_DISTINCT, by="key")
        if self._counts is not None:
            new = known.value_counts(name="n").cast({"n": pl.Int64})
            both = pl.concat([self._counts.cast({"value": known.dtype}), new])
            counts = both.group_by("value").agg(pl.col("n").sum())
            self._counts = counts if counts.height <= MAX_DISTINCT else None

    def result(self) -> ColumnProfile:
        """Return the profile of all values so far."""
        profile: ColumnProfile = {"count": self._count, "missing": self._missing, "distinct": None, "top": []}
        if self._counts is not None:
            top = self._counts.sort(["n", "value"], descending=[True, False]).head(self._top_count)
            profile["distinct"] = self._counts.height
            profile["top"] = top.rows()
        if self.field.is_numeric and self._count > self._missing:
            counts = self._sample.select("value", n=1) if self._counts is None else self._counts
            counts = counts.sort("value").cast(pl.Float64)
            values, weights = counts["value"].to_numpy(), counts["n"].to_numpy()
            # The smallest value below or at which at least that share of the weight lies.
            reached = np.searchsorted(np.cumsum(weights) / weights.sum(), QUANTILES, side="left")
            profile["mean"] = self._total / (self._count - self._missing)
            profile["quantiles"] = values[np.minimum(reached, len(values) - 1)].tolist()
            profile["histogram"] = np.histogram(values, bins=BIN_COUNT, weights=weights)[0].tolist()
        return profile
