"""Rules retrain: on what is new, through the gate, on record, and not in circles."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone

from core.errors import TitanicError
from ingestion.models import Source
from monitoring import retraining
from monitoring.models import Alert, AlertRule, Retraining
from tests.people import ELISABETH, table
from titanic_site import tasks
from training.models import ModelVersion, TrainingRun


@pytest.fixture
def alert(champion: ModelVersion) -> Alert:
    """An open alert whose rule retrains."""
    AlertRule.objects.filter(kind="drift").update(retrains=True)
    return Alert.objects.create(kind="drift", subject="Live inputs", message="Drifted")


def add_source(inbox: Path, text: str, name: str = "people.csv") -> None:
    (inbox / name).write_text(text, encoding="utf-8")
    Source.objects.get_or_create(name=name, uri=name)


def days_pass() -> None:
    Retraining.objects.update(started_at=timezone.now() - timedelta(days=2))


def test_it_works(alert: Alert, inbox: Path, sample: str, client: Client) -> None:
    tasks.retrain_by_rule()

    # The data are those of the last training.
    assert (Retraining.objects.get().run, TrainingRun.objects.count()) == (None, 1)
    assert "nothing was trained" in client.get(alert.get_absolute_url()).text

    add_source(inbox, "\n".join(sample.splitlines()[:-100]))
    Source.objects.create(name="lost", uri="no-such-file.csv")
    tasks.retrain_by_rule()
    assert Retraining.objects.count() == 1, "it pauses"
    days_pass()
    tasks.retrain_by_rule()

    last = Retraining.objects.first()
    assert last is not None
    assert last.run is not None
    assert last.run.version.verdict is not None
    assert last.run.feature_batch.dataset.source == Source.objects.get(name="people.csv")
    assert last.run.get_absolute_url() in client.get(alert.get_absolute_url()).text
    assert alert.get_absolute_url() in client.get(last.run.get_absolute_url()).text


def test_a_training_that_fails_is_on_record(alert: Alert, inbox: Path, client: Client) -> None:
    add_source(inbox, table(ELISABETH, ELISABETH))

    with pytest.raises(TitanicError, match="too small"):
        tasks.retrain_by_rule()

    failed = Retraining.objects.get()
    assert failed.run is not None
    assert (failed.run.state, failed.finished_at is not None) == ("failed", True)
    assert "too small" in str(failed.error)


def test_by_schedule_it_trains_on_new_data_alone(champion: ModelVersion, client: Client) -> None:
    tasks.retrain()

    assert (Retraining.objects.get().kind, TrainingRun.objects.count()) == ("", 1)
    row = Retraining.objects.create(run=champion.run)
    assert "Started by" in client.get(champion.run.get_absolute_url()).text
    assert row.alert is None


@pytest.mark.parametrize(
    "change",
    [
        lambda: AlertRule.objects.update(is_enabled=False),
        lambda: AlertRule.objects.update(retrains=False),
        lambda: Alert.objects.update(resolved_at=timezone.now()),
        lambda: Alert.objects.update(kind="parity"),
        lambda: TrainingRun.objects.update(state="queued"),
        lambda: Retraining.objects.create(kind="drift", started_at=timezone.now() - timedelta(hours=5)),
        lambda: Retraining.objects.create(
            kind="new data", run=TrainingRun.objects.get(), started_at=timezone.now() - timedelta(hours=23)
        ),
    ],
    ids=["disabled", "told not to", "resolved", "another kind", "under way", "pause", "enough for a day"],
)
def test_there_is_nothing_to_do(alert: Alert, change: object) -> None:
    assert callable(change)
    change()

    assert retraining.claim() is None


def test_it_is_claimed_once(alert: Alert) -> None:
    assert retraining.claim() is not None
    assert retraining.claim() is None
    Retraining.objects.update(started_at=timezone.now() - timedelta(hours=7))
    assert retraining.claim() is not None
