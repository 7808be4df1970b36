"""Profile a batch's features, and how each correlates with the label."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.definition import CODES, FEATURES, Matrix
from ingestion.contract import Field
from ingestion.profile import TOP_COUNT, ColumnProfile, ColumnProfiler

Labels = NDArray[np.float64]
_SLICE_ROWS = 20_000


class FeatureColumnProfile(ColumnProfile):
    """Profile of one feature; `correlation` is None where feature or label are constant or the label is unknown."""

    correlation: float | None


def profile_of(matrix: Matrix, labels: Labels | None) -> dict[str, FeatureColumnProfile]:
    """Profile features, shape (n, number of FEATURES), with the labels of their rows, shape (n,) or None, by feature.

    The codes of a nominal feature are profiled by their names; it has no median and no mean, and its histogram has one
    bar for each name.
    """
    profiles: dict[str, FeatureColumnProfile] = {}
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
        profiles[name] = {**profile, "correlation": correlation}
    return profiles


def _correlation(values: pl.Series, labels: Labels, *, is_nominal: bool) -> float | None:
    """Compute Pearson's r, or the correlation ratio of codes without an order; None where either side is constant."""
    known = pl.DataFrame({"value": values.cast(pl.Float64), "label": labels}).drop_nulls()
    if any(column.min() == column.max() for column in known):
        return None
    if is_nominal:
        mean_by_code = pl.col("label").mean().over("value")
        return float(known.select(mean_by_code.std() / pl.col("label").std()).item())
    return float(known.select(pl.corr("value", "label")).item())
