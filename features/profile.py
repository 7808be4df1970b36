"""Profile a batch's features, and how each correlates with the label."""

from typing import NotRequired

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.definition import CODES, FEATURES, Matrix
from ingestion.contract import Field
from ingestion.profile import TOP_COUNT, ColumnProfile, ColumnProfiler

Labels = NDArray[np.float64]
_SLICE_ROWS = _SAMPLE_ROWS = 20_000


class FeatureColumnProfile(ColumnProfile):
    """Profile of one feature; a correlation is None where one of the two is constant, or the label unknown.

    `correlation` is that with the label, `correlations` are those with the features by name; a batch of an earlier
    version of this product has none.
    """

    correlation: float | None
    correlations: NotRequired[dict[str, float | None]]


def profile_of(matrix: Matrix, labels: Labels | None) -> dict[str, FeatureColumnProfile]:
    """Profile features, shape (n, number of FEATURES), with the labels of their rows, shape (n,) or None, by feature.

    The codes of a nominal feature are profiled by their names; it has no median and no mean, and its histogram has one
    bar for each name.
    """
    profiles: dict[str, FeatureColumnProfile] = {}
    between = _between(matrix[:: max(len(matrix) // _SAMPLE_ROWS, 1)])
    for name, values in pl.DataFrame(matrix, schema=list(FEATURES)).fill_nan(None).to_dict().items():
        codes = CODES.get(name, {})
        field = Field(name, "text" if codes else "number", is_required=False)
        profiler = ColumnProfiler(field, top_count=max(TOP_COUNT, len(codes)))
        named = values
        if codes:
            names = {code: category for category, code in codes.items()}
            named = values.replace_strict(names, default=values.cast(pl.String), return_dtype=pl.String)
        # At once, a million different values would take three times as long.
        for start in range(0, len(named), _SLICE_ROWS):
            profiler.add(named[start : start + _SLICE_ROWS])
        profile = profiler.result()
        if codes:
            counts = dict(profile["top"])
            profile["histogram"] = [counts.get(category, 0) for category in codes]
        correlation = None if labels is None else _correlation(values, labels, is_nominal=bool(codes))
        profiles[name] = {**profile, "correlation": correlation, "correlations": between[name]}
    return profiles


def _between(matrix: Matrix) -> dict[str, dict[str, float | None]]:
    """Correlate each feature with each: Pearson's r, the correlation ratio where one is nominal, Cramér's V of two."""
    columns = pl.DataFrame(matrix, schema=list(FEATURES)).fill_nan(None).to_dict()
    between: dict[str, dict[str, float | None]] = {name: {} for name in FEATURES}
    for place, one in enumerate(FEATURES):
        for other in FEATURES[place + 1 :]:
            if one in CODES and other in CODES:
                correlation = _cramers_v(columns[one], columns[other])
            else:
                codes, values = (one, other) if one in CODES else (other, one)
                correlation = _correlation(columns[codes], columns[values], is_nominal=codes in CODES)
            between[one][other] = between[other][one] = correlation
    return between


def _cramers_v(one: pl.Series, other: pl.Series) -> float | None:
    """Compute Cramér's V (1946) of two nominal features; None where one is constant."""
    known = pl.DataFrame({"one": one, "other": other}).drop_nulls()
    table = known.group_by("one", "other").len().pivot(on="other", index="one", values="len").fill_null(0).drop("one")
    counts = table.to_numpy().astype(np.float64)
    smaller = min(counts.shape) - 1
    if smaller < 1:
        return None
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    return float(np.sqrt(((counts - expected) ** 2 / expected).sum() / counts.sum() / smaller))


def _correlation(values: pl.Series, labels: Labels | pl.Series, *, is_nominal: bool) -> float | None:
    """Compute Pearson's r, or the correlation ratio of codes without an order; None where either side is constant."""
    known = pl.DataFrame({"value": values.cast(pl.Float64), "label": labels}).cast(pl.Float64).drop_nulls()
    if any(column.min() == column.max() for column in known):
        return None
    if is_nominal:
        mean_by_code = pl.col("label").mean().over("value")
        return float(known.select(mean_by_code.std() / pl.col("label").std()).item())
    return float(known.select(pl.corr("value", "label")).item())
