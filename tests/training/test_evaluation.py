"""Figures by name: a reproduced version has them to the last bit, so pandas must add up as numpy does."""

import numpy as np
import pytest

from features.definition import FEATURES, SEX, slices
from training import evaluation, fitting
from training.metrics import Estimate, Input
from training.training_data import Examples


@pytest.fixture
def examples() -> Examples:
    """Sixty rows in twenty groups; of every fifth the age is unknown."""
    rng = np.random.default_rng(0)
    matrix = rng.integers(0, 60, (60, len(FEATURES))).astype(np.float32)
    matrix[:, FEATURES.index("Sex")] = rng.integers(0, 2, 60)
    matrix[::5, FEATURES.index("Age")] = np.nan
    labels = rng.random(60) < 0.4
    return Examples(matrix, labels, np.arange(60) // 3, np.zeros(60, bool), np.zeros(60, bool))


def test_a_figure_has_mean_spread_and_interval_over_the_repeats(examples: Examples) -> None:
    out_of_fold = np.random.default_rng(1).random((5, 60))

    summary = evaluation.summary(examples, out_of_fold, threshold=0.5, intervals_with=7)

    repeats = [dict(evaluation.figures(examples.labels, row, threshold=0.5).items()) for row in out_of_fold]
    bounds = dict(evaluation.intervals(examples.labels, out_of_fold, examples.groups, threshold=0.5, seed=7).items())
    for name, estimate in summary.items():
        values = [repeat[name] for repeat in repeats]
        low, high = bounds[name]
        assert estimate == Estimate(np.mean(values), np.std(values, ddof=1), low, high)
        assert low < high


def test_the_calibration_error_lies_within_its_interval(examples: Examples) -> None:
    probabilities = np.clip(examples.labels + np.random.default_rng(2).normal(0, 0.2, 60), 0.05, 0.95)

    measured = evaluation.holdout(examples, probabilities, threshold=0.5, seed=7).estimates()

    for estimate in measured.values():
        assert estimate.low is not None
        assert estimate.high is not None
        assert 0 <= estimate.low <= estimate.value <= estimate.high


def test_without_a_seed_there_is_no_interval(examples: Examples) -> None:
    summary = evaluation.summary(examples, np.random.default_rng(1).random((2, 60)), threshold=0.5)

    assert all(estimate.low is estimate.high is None for _name, estimate in summary.items())


def test_inputs_are_described_by_feature(examples: Examples) -> None:
    inputs = fitting.inputs(examples)

    ages = examples.matrix[:, FEATURES.index("Age")]
    assert list(inputs) == list(FEATURES)
    assert inputs["Age"] == Input(len(np.unique(ages[~np.isnan(ages)])), 0.2, np.nanmin(ages), np.nanmax(ages))
    assert type(inputs["Age"].values) is int


def test_slices_know_the_features_by_name(examples: Examples) -> None:
    members = slices(examples.features)

    sexes, ages = examples.features["Sex"], examples.features["Age"]
    for name, code in SEX.items():
        assert members[f"Sex: {name}"].tolist() == (sexes == code).tolist()
    # Each passenger is in one slice of age.
    assert sum(rows.astype(int) for name, rows in members.items() if name.startswith("Age")).tolist() == [1] * 60
    assert members["Age: unknown"].tolist() == np.isnan(ages).tolist()
