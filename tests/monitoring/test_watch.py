"""The continuous watch: its statistics, its thresholds, and what it says of live predictions."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from django.utils import timezone
from scipy import stats

from features.definition import FEATURES, Matrix
from ingestion.schema import FIELD_NAMES
from monitoring import drift_watch, watch
from monitoring.counters import DRIFTS
from monitoring.models import DriftWatch
from predictions import drift_state, log
from predictions import services as predictions
from predictions.models import Channel, Prediction
from tests.people import NOBODY, OWEN
from training.models import ModelVersion
from training.reference import Reference
from training.registry import promote
from training.services import reference_of


@pytest.fixture
def reference(champion: ModelVersion) -> Reference:
    return reference_of(champion)


@pytest.fixture
def watched(champion: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> DriftWatch:
    """The champion's watch, calibrated on few streams."""
    monkeypatch.setattr(watch.calibrate, "__kwdefaults__", {"streams": 10, "length": 2_000})
    drift_watch.look()
    drift_watch.calibrate(DriftWatch.objects.get())
    return DriftWatch.objects.get()


def predict(version: ModelVersion, people: Sequence[dict[str, Any]], *, source: Channel = Channel.API) -> None:
    """Log predictions of these people, as they would have been drained."""
    fixed = {"model_version": version.version, "probability": 0.5, "threshold": 0.5, "predicted": True}
    Prediction.objects.bulk_create(
        Prediction(source=source, created_at=timezone.now(), **fixed, **person) for person in people
    )


def passengers(version: ModelVersion, count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Draw passengers from the training rows."""
    rows = list(version.feature_batch.passengers.filter(is_holdout=False).values(*FIELD_NAMES))
    return [rows[index] for index in np.random.default_rng(seed).integers(len(rows), size=count)]


class TestStatistics:
    """The statistics are those of the literature."""

    def column(
        self, values: Sequence[float], reference: Sequence[float], *, name: str = "Age"
    ) -> tuple[watch.Column, np.ndarray]:
        matrix = np.zeros((len(reference), len(FEATURES)), np.float32)
        matrix[:, FEATURES.index(name)] = reference
        (column,) = (column for column in watch.columns_of(matrix) if column.name == name)
        bins = column.bins(np.array(values, np.float32))
        return column, np.bincount(bins, minlength=len(column.counts))[None]

    def test_numbers_are_compared_by_the_distance_of_kolmogorov_and_smirnov(self) -> None:
        rng = np.random.default_rng(1)
        before, now = rng.normal(size=100).astype(np.float32), rng.normal(0.5, size=40).astype(np.float32)
        column, counts = self.column(now, before)

        (_, (statistic,)) = list(watch.enumerate_tests(column, counts, np.array(column.counts)))[1]

        distance = stats.ks_2samp(before, np.clip(now, before.min(), None)).statistic
        assert statistic == pytest.approx(distance * np.sqrt(100 * 40 / 140), rel=1e-6)

    @pytest.mark.parametrize("is_missing", [False, True])
    def test_categories_and_unknown_values_are_compared_by_g(self, *, is_missing: bool) -> None:
        before = [1.0] * 60 + [2.0] * 30 + [3.0] * 10 + [np.nan] * 20
        now = [1.0] * 10 + [2.0] * 20 + [3.0] * 2 + [np.nan] * 8
        column, counts = self.column(now, before, name="Embarked")

        statistics = dict(watch.enumerate_tests(column, counts, np.array(column.counts)))

        table = [[60 + 30 + 10, 20], [32, 8]] if is_missing else [[60, 30, 10], [10, 20, 2]]
        g = stats.chi2_contingency(table, lambda_="log-likelihood", correction=False).statistic
        assert statistics[is_missing][0] == pytest.approx(np.sqrt(g), rel=1e-6)

    def test_a_feature_that_is_unknown_everywhere_says_nothing_of_its_values(self) -> None:
        column, counts = self.column([np.nan] * 20, [np.nan] * 50)

        assert [
            float(statistic[0]) for _, statistic in watch.enumerate_tests(column, counts, np.array(column.counts))
        ] == [0, 0]

    def test_a_look_is_the_last_one_of_its_stream(self, reference: Reference) -> None:
        calibrated = watch.calibrate(reference.matrix, reference.groups, seed=1, streams=2, length=1_000)
        sensitive = msgspec.structs.replace(calibrated, thresholds=[[-1.0] * 16] * len(watch.WINDOWS))
        bins = sensitive.bins(reference.matrix[:700])
        counts = [np.array(column.counts) for column in sensitive.columns]

        stream = watch.stream_statistics(sensitive.columns, list(bins.T.astype(np.int64)), counts)

        looked = [test.statistic for test in sensitive.look(bins)]
        assert looked == pytest.approx(stream[-1].ravel().tolist(), rel=1e-5)


class TestCalibration:
    """Thresholds come from streams of unchanged rows."""

    def test_the_same_seed_gives_the_same_thresholds(self, reference: Reference) -> None:
        first, second = (
            watch.calibrate(reference.matrix, reference.groups, seed=3, streams=4, length=1_000) for _ in range(2)
        )

        assert msgspec.json.encode(first) == msgspec.json.encode(second)

    def test_an_alarm_lasts_until_the_longest_window_has_passed(self) -> None:
        stream = np.zeros((2, 1_000), bool)
        stream[0, [100, 101, 150, 500]] = True

        # Two alarms in 20,000 predictions.
        assert watch.false_alarms(stream) == 1

    def test_unchanged_rows_raise_few_alarms_and_changed_ones_many(self, reference: Reference) -> None:
        calibrated = watch.calibrate(reference.matrix, reference.groups, seed=1, streams=20, length=5_000)
        assert calibrated.false_alarms <= watch.TARGET
        rng = np.random.default_rng(2)

        def looks(matrix: Matrix) -> int:
            draws = [matrix[rng.integers(len(matrix), size=640)] for _ in range(20)]
            return sum(bool(calibrated.look(calibrated.bins(drawn))) for drawn in draws)

        dearer = reference.matrix.copy()
        dearer[:, FEATURES.index("Fare")] *= 1.5
        assert looks(reference.matrix) == 0
        assert looks(dearer) == 20

    def test_a_table_without_groups_is_calibrated_too(self, reference: Reference) -> None:
        alone = np.arange(len(reference.groups))

        assert watch.calibrate(reference.matrix, alone, seed=1, streams=2, length=1_000).thresholds


class TestWatch:
    """The watch of the champion."""

    def test_calm_traffic_is_calm(self, champion: ModelVersion, watched: DriftWatch) -> None:
        predict(champion, passengers(champion, 200))

        assert drift_watch.look()
        assert drift_state.read() == drift_state.DriftState(
            "calm", DriftWatch.objects.get().since, (), champion.version
        )

    def test_dearer_fares_are_an_alarm_that_a_file_does_not_hide(
        self, champion: ModelVersion, watched: DriftWatch
    ) -> None:
        before = DRIFTS.labels("Fare")._value.get()
        dearer = [
            {**person, "fare": None if person["fare"] is None else 1.5 * person["fare"]}
            for person in passengers(champion, 300)
        ]
        predict(champion, dearer)
        assert drift_watch.look()
        assert drift_state.read().state == "drift"
        since = drift_state.read().since
        predict(champion, passengers(champion, 891), source=Channel.CSV)

        # A new process knows nothing but the rows.
        assert not drift_watch.look()
        predict(champion, dearer[:10])
        assert not drift_watch.look()

        row = DriftWatch.objects.get()
        assert (row.state, row.since) == ("drift", since)
        assert "Fare" in row.exceeding
        assert DRIFTS.labels("Fare")._value.get() == before + 1

    def test_one_body_over_and_over_is_an_alarm(self, champion: ModelVersion, watched: DriftWatch) -> None:
        predict(champion, [{**NOBODY, **OWEN}] * 60)

        drift_watch.look()

        assert drift_state.read().state == "drift"

    def test_it_is_over_when_the_longest_window_is_calm(self, champion: ModelVersion, watched: DriftWatch) -> None:
        predict(champion, [{**NOBODY, **OWEN}] * 60)
        drift_watch.look()

        for seed in range(3):
            predict(champion, passengers(champion, 640, seed=seed))
            drift_watch.look()

        row = DriftWatch.objects.get()
        assert (row.state, row.exceeding) == ("calm", {})

    def test_a_look_waits_for_ten_predictions_or_a_minute(self, champion: ModelVersion, watched: DriftWatch) -> None:
        predict(champion, passengers(champion, 30))
        drift_watch.look()
        predict(champion, passengers(champion, 9, seed=1))

        drift_watch.look()
        assert DriftWatch.objects.get().prediction_count == 30

        DriftWatch.objects.update(looked_at=timezone.now() - timedelta(seconds=61))
        drift_watch.look()
        assert DriftWatch.objects.get().prediction_count == 39

    def test_few_predictions_say_nothing(self, champion: ModelVersion, watched: DriftWatch) -> None:
        predict(champion, [{**NOBODY, **OWEN}] * 19)

        drift_watch.look()

        assert drift_state.read().state == "unknown"

    def test_a_new_champion_is_watched_from_its_promotion_on(self, champion: ModelVersion, watched: DriftWatch) -> None:
        predict(champion, [{**NOBODY, **OWEN}] * 60)
        drift_watch.look()
        other = ModelVersion.objects.get(pk=champion.pk)
        other.pk, other.version, other.stage = None, champion.version + 1, "candidate"
        run = champion.run
        run.pk = None
        run.save()
        other.run = run
        other.save()

        promote(other, by=None)
        drift_watch.look()
        assert drift_state.read() == drift_state.DriftState("unknown", None, (), other.version)

        promote(champion, by=None)
        drift_watch.look()
        row = DriftWatch.objects.get(version=champion)
        assert (row.state, row.prediction_count) == ("unknown", 0)

    def test_what_the_drain_moves_is_seen(self, champion: ModelVersion, watched: DriftWatch) -> None:
        predictions.predict(predictions.parse_batch([OWEN] * 40))
        log.drain()

        drift_watch.look()

        assert drift_state.current().state == "drift"

    def test_without_a_champion_the_state_is_unknown(self, db: None) -> None:
        assert not drift_watch.look()
        assert drift_state.read() == drift_state.DriftState()

    def test_a_calibration_is_sent_once_and_again_when_it_was_lost(self, champion: ModelVersion) -> None:
        drift_watch.look()
        row = DriftWatch.objects.get()

        assert [drift_watch.claim_calibration() for _ in range(2)] == [row.pk, None]

        DriftWatch.objects.update(calibration_sent_at=timezone.now() - drift_watch.CALIBRATION_RETRY * 2)
        assert drift_watch.claim_calibration() == row.pk

    def test_a_model_whose_reference_is_gone_says_so(self, champion: ModelVersion) -> None:
        ModelVersion.objects.update(reference_file="models/gone.npz")
        drift_watch.look()

        drift_watch.calibrate(DriftWatch.objects.select_related("version__run").get())

        assert "gone.npz" in str(DriftWatch.objects.get().error)
        assert drift_state.read().state == "unknown"

    def test_a_model_of_an_earlier_version_takes_the_rows_of_its_batch(
        self, champion: ModelVersion, reference: Reference
    ) -> None:
        champion.reference_file = ""

        again = reference_of(champion)

        assert np.array_equal(again.matrix, reference.matrix, equal_nan=True)
        assert np.array_equal(again.groups, reference.groups)
        assert again.probabilities is None
        assert reference.probabilities is not None
