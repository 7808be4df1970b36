"""Drift tests: what they see, what they leave alone, and that both backends say the same."""

import math

import numpy as np
import pytest

from core.errors import Conflict
from core.jobs import State
from features import services as features_services
from features.definition import FEATURES, Matrix
from monitoring import services
from monitoring.drift import FALSE_ALARM_RATE, compare
from monitoring.models import DriftCheck
from predictions import log
from predictions import services as predictions
from tests.people import CAST, OWEN
from training.models import ModelVersion


@pytest.fixture
def halves(champion: ModelVersion) -> tuple[Matrix, Matrix]:
    matrix = features_services.matrix(champion.feature_batch)
    order = np.random.default_rng(5).permutation(len(matrix))
    return matrix[order[:650]], matrix[order[650:850]].copy()


def drifted(reference: Matrix, window: Matrix, backend: str = "scipy") -> set[str]:
    return {test.name for test in compare(reference, window, backend=backend) if test.drifted}


def test_unchanged_data_has_not_drifted(halves: tuple[Matrix, Matrix]) -> None:
    assert drifted(*halves) == set()


def test_old_s1_higher_fares_are_seen(halves: tuple[Matrix, Matrix]) -> None:
    reference, window = halves
    window[:, FEATURES.index("Fare")] *= 1.5

    assert drifted(reference, window) == {"Fare"}


def test_old_s5_values_that_went_missing_are_seen(halves: tuple[Matrix, Matrix]) -> None:
    reference, window = halves
    window[:, FEATURES.index("Age")] = np.nan

    assert drifted(reference, window) == {"Age"}


def test_old_s1_one_row_repeated_is_seen(halves: tuple[Matrix, Matrix]) -> None:
    reference, window = halves

    assert len(drifted(reference, np.repeat(window[:1], 200, axis=0))) >= 3


def test_old_s8_feature_and_verdict_share_one_threshold(halves: tuple[Matrix, Matrix]) -> None:
    tests = compare(*halves, backend="scipy")

    assert {test.threshold for test in tests} == {FALSE_ALARM_RATE / len(tests)}


def test_both_backends_say_the_same(halves: tuple[Matrix, Matrix]) -> None:
    ours, theirs = (compare(*halves, backend=backend) for backend in ("scipy", "alibi"))

    for one, other in zip(ours, theirs, strict=True):
        assert (one.name, one.test) == (other.name, other.test)
        assert math.isclose(one.p_value, other.p_value, abs_tol=1e-6)
        assert math.isclose(one.statistic, other.statistic, rel_tol=1e-5)


def test_a_window_without_power_is_refused(halves: tuple[Matrix, Matrix]) -> None:
    with pytest.raises(ValueError, match="no power"):
        compare(halves[0], halves[1][:49], backend="scipy")


class TestCheck:
    """A check as a job."""

    def check(self, *people: dict[str, object]) -> DriftCheck:
        if people:
            predictions.predict(predictions.parse_batch(people))
            log.drain()
        check = services.queue_check()
        services.check_drift(check)
        return check

    def test_few_predictions_are_not_enough_yet(self, champion: ModelVersion) -> None:
        check = self.check(*CAST)

        assert (check.state, check.drifted, check.window_size) == (State.SUCCEEDED, None, 4)
        assert not check.features.exists()

    def test_fifty_of_one_kind_have_drifted(self, champion: ModelVersion) -> None:
        check = self.check(*[OWEN] * 50)

        assert check.drifted
        assert check.features.get(name="Sex").drifted
        assert check.reference_size == champion.feature_batch.dataset.split["train"]

    def test_two_at_once_are_refused(self, champion: ModelVersion) -> None:
        services.queue_check()

        with pytest.raises(Conflict, match="under way"):
            services.queue_check()

    def test_without_a_champion_there_is_nothing_to_check(self, db: None) -> None:
        assert services.scheduled_check() is None
