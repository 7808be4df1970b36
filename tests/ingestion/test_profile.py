"""The profile: what the columns look like, in one pass and bounded memory."""

import numpy as np
import polars as pl
import pytest

from ingestion import profile
from ingestion.contract import Field
from ingestion.profile import ColumnProfile, ColumnProfiler

AGE = Field("age", "number", is_required=False, minimum=0, maximum=120)
NAME = Field("name", "text", is_required=False)


def profile_of(field: Field, *parts: list[object]) -> ColumnProfile:
    profiler = ColumnProfiler(field)
    for part in parts:
        profiler.add(pl.Series(part, dtype=pl.Float64 if field.is_numeric else pl.String))
    return profiler.result()


def test_counts_missing_and_quantiles() -> None:
    result = profile_of(AGE, [1.0, None, 3.0], [2.0, 4.0])

    assert (result["count"], result["missing"], result["distinct"]) == (5, 1, 4)
    assert result["quantiles"] == [1.0, 1.0, 2.0, 3.0, 4.0]
    assert result["mean"] == 2.5


def test_the_most_frequent_values_come_first_and_ties_in_order() -> None:
    result = profile_of(NAME, ["b", "a", "b"], ["a", "c", None])

    assert result["top"] == [("a", 2), ("b", 2), ("c", 1)]


def test_a_column_of_nothing_has_no_figures() -> None:
    result = profile_of(AGE, [None, None])

    assert (result["missing"], result["distinct"], "quantiles" in result) == (2, 0, False)


def test_many_different_values_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "MAX_DISTINCT", 2000)
    values = np.random.default_rng(7).uniform(0, 100, 50_000)

    result = profile_of(AGE, *(part.tolist() for part in np.array_split(values, 20)))

    assert (result["distinct"], result["top"]) == (None, [])
    np.testing.assert_allclose(result["quantiles"][1:4], np.quantile(values, [0.25, 0.5, 0.75]), atol=4)
    assert result["mean"] == pytest.approx(values.mean())


def test_it_is_the_same_however_the_table_is_cut() -> None:
    values = [float(value) for value in range(100)]

    assert profile_of(AGE, values) == profile_of(AGE, values[:30], values[30:])
