"""Profile a batch's features, and how each correlates with the label; chunk by chunk, in bounded memory."""

from collections import defaultdict
from math import sqrt

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.definition import CODES, FEATURES, Matrix
from ingestion.contract import Field
from ingestion.profile import TOP_COUNT, ColumnProfile, Profile

Labels = NDArray[np.float64]


class FeatureColumnProfile(ColumnProfile):
    """Profile of one feature; `correlation` is None where feature or label are constant or the label is unknown."""

    correlation: float | None


class FeatureProfile:
    """Collects the profile of a batch's rows, chunk by chunk."""

    def __init__(self) -> None:
        fields = [Field(name, "number", is_required=False, is_nullable=True) for name in FEATURES]
        # The histogram of a nominal feature needs the count of each of its codes.
        top_count = max([TOP_COUNT, *(len(codes) for codes in CODES.values())])
        self._profile = Profile(fields, top_count=top_count)
        self._correlations = {name: CorrelationRatio() if name in CODES else PearsonCorrelation() for name in FEATURES}

    def add(self, matrix: Matrix, labels: Labels | None) -> None:
        """Count rows in, shape (n, number of FEATURES), with their labels, shape (n,); None for a table without."""
        self._profile.add(pl.DataFrame(matrix, schema=list(FEATURES)).fill_nan(None))
        if labels is None:
            return
        for index, correlation in enumerate(self._correlations.values()):
            is_known = ~np.isnan(matrix[:, index])
            correlation.add(matrix[is_known, index].astype(np.float64), labels[is_known])

    def result(self) -> dict[str, FeatureColumnProfile]:
        """Return the profile by feature."""
        columns = self._profile.result()
        return {
            name: {**columns[name], "correlation": correlation.value}
            for name, correlation in self._correlations.items()
        }


class PearsonCorrelation:
    """Collects Pearson's r; values are taken relative to the first so that large numbers lose no digits."""

    def __init__(self) -> None:
        self._origin: float | None = None
        self._sums: NDArray[np.float64] = np.zeros(6)

    def add(self, values: NDArray[np.float64], labels: Labels) -> None:
        if self._origin is None:
            self._origin = float(values[0]) if len(values) else None
        x = values - (self._origin or 0.0)
        self._sums += [len(x), x.sum(), labels.sum(), x @ x, labels @ labels, x @ labels]

    @property
    def value(self) -> float | None:
        count, x, y, xx, yy, xy = self._sums.tolist()
        spread = (count * xx - x * x) * (count * yy - y * y)
        return (count * xy - x * y) / sqrt(spread) if spread > 0 else None


class CorrelationRatio:
    """Collects the correlation ratio of unordered codes: 0 where all have the same share of the label, at most 1."""

    def __init__(self) -> None:
        self._counts: dict[float, float] = defaultdict(float)
        self._labels: dict[float, float] = defaultdict(float)

    def add(self, values: NDArray[np.float64], labels: Labels) -> None:
        for code in np.unique(values).tolist():
            is_code = values == code
            self._counts[code] += float(is_code.sum())
            self._labels[code] += float(labels[is_code].sum())

    @property
    def value(self) -> float | None:
        count, positives = sum(self._counts.values()), sum(self._labels.values())
        total = positives * (count - positives)
        if total <= 0 or len(self._counts) <= 1:
            return None
        between = sum(self._labels[code] ** 2 / n for code, n in self._counts.items()) * count - positives**2
        return sqrt(max(between / total, 0.0))
