"""What grows is kept as long as the settings say, and no longer."""

from collections.abc import Callable
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from core.errors import TitanicError
from core.jobs import State
from features.models import FeatureBatch
from ingestion.models import Dataset
from monitoring.models import Alert, Delivery, DriftCheck, PerformanceCheck
from predictions import scoring, services
from predictions.models import DeadLetter, Prediction, ScoringJob, ShadowScore, lowest_id
from tests.people import OWEN, table
from titanic_site import retention
from training.models import ModelVersion, TrainingRun

Commit = Callable[..., Any]


@pytest.fixture(autouse=True)
def _ten_days(settings: Any) -> None:
    for name in ("DEAD_LETTERS", "SHADOW_SCORES", "SCORING", "JOBS", "ALERTS"):
        setattr(settings, f"{name}_KEPT_DAYS", 10)


def days_ago(days: int) -> datetime:
    return timezone.now() - timedelta(days=days)


def scored() -> ScoringJob:
    job = services.queue_scoring(file=SimpleUploadedFile("x.csv", table(OWEN).encode()), by=None)
    scoring.score(job)
    return job


@pytest.mark.django_db
def test_dead_letters_and_shadow_scores_beyond_their_days_are_deleted(settings: Any) -> None:
    for days in (9, 11):
        DeadLetter.objects.create(entry_id=f"{days}", raw=b"x", error="x", attempts=3, created_at=days_ago(days))
        ShadowScore.objects.create(
            model_version=1, prediction_id=lowest_id(days_ago(days)), probability=0.5, predicted=True,
            created_at=timezone.now(),
        )  # fmt: skip
    settings.DEAD_LETTERS_KEPT_DAYS = 0

    assert retention.delete_old() == {
        "shadow scores": 1, "scoring jobs": 0, "jobs": 0, "log lines": 0, "alerts": 0, "audit entries": 0
    }  # fmt: skip
    settings.DEAD_LETTERS_KEPT_DAYS = 10
    assert retention.delete_old()["dead letters"] == 1
    assert DeadLetter.objects.get().entry_id == "9"


def test_a_scoring_job_goes_with_its_files_and_not_with_its_predictions(
    champion: ModelVersion, django_capture_on_commit_callbacks: Commit
) -> None:
    old, new = scored(), scored()
    ScoringJob.objects.filter(pk=old.pk).update(finished_at=days_ago(11))
    files = [Path(old.upload.path), Path(old.parts.get().results.path)]
    assert all(path.exists() for path in files)

    with django_capture_on_commit_callbacks(execute=True):
        retention.delete_old()

    assert ScoringJob.objects.get() == new
    assert not any(path.exists() for path in files)
    assert not files[1].parent.exists()
    assert scoring.are_results_stored(new)
    assert Prediction.objects.filter(scoring_job_id=old.pk).exists()


def test_a_file_that_another_job_scores_again_stays(
    champion: ModelVersion, django_capture_on_commit_callbacks: Commit
) -> None:
    old = scored()
    again = old.rerun()
    ScoringJob.objects.filter(pk=old.pk).update(finished_at=days_ago(11))

    with django_capture_on_commit_callbacks(execute=True):
        retention.delete_old()

    assert ScoringJob.objects.get() == again
    assert default_storage.exists(again.upload.name)


def test_jobs_that_left_nothing_are_deleted_and_what_is_in_use_stays(
    champion: ModelVersion, load: Callable[..., Dataset], django_capture_on_commit_callbacks: Commit
) -> None:
    with pytest.raises(TitanicError):
        load("no,such,table\n1,2,3\n")
    failed = Dataset.objects.filter(state=State.FAILED).get()
    batch = FeatureBatch.objects.get()
    in_use = FeatureBatch.objects.create(dataset=batch.dataset, state=State.FAILED)
    TrainingRun.objects.create(feature_batch=in_use, state=State.QUEUED)
    TrainingRun.objects.create(feature_batch=batch, state=State.CANCELLED)
    checks = [DriftCheck.objects.create(state=State.SUCCEEDED) for _ in range(3)]
    measured = [PerformanceCheck.objects.create(state=State.SUCCEEDED) for _ in range(2)]
    for model in (Dataset, FeatureBatch, TrainingRun, DriftCheck, PerformanceCheck):
        model.objects.exclude(state=State.QUEUED).update(finished_at=days_ago(11))

    with django_capture_on_commit_callbacks(execute=True):
        assert retention.delete_old()["jobs"] == 5

    assert not Dataset.objects.filter(pk=failed.pk).exists()
    assert not default_storage.exists(failed.upload.name)
    assert set(FeatureBatch.objects.all()) == {batch, in_use}
    assert not TrainingRun.objects.filter(state=State.CANCELLED).exists()
    assert (DriftCheck.objects.get(), PerformanceCheck.objects.get()) == (checks[-1], measured[-1])
    assert ModelVersion.objects.champion() == champion


@pytest.mark.django_db
def test_the_schedule_that_was_the_audit_trails_own_is_deleted() -> None:
    every, _ = IntervalSchedule.objects.get_or_create(every=1, period=IntervalSchedule.DAYS)
    old = PeriodicTask.objects.create(name="old", task="titanic_site.tasks.delete_old_audit", interval=every)

    import_module("titanic_site.migrations.0003_one_schedule_deletes").delete_schedule(apps, None)

    assert not PeriodicTask.objects.filter(pk=old.pk).exists()


@pytest.mark.django_db
def test_alerts_that_are_over_go_with_their_deliveries() -> None:
    old, mixed, dismissed = (Alert.objects.create(kind="x", subject=name, message="x") for name in "abc")
    Alert.objects.update(resolved_at=days_ago(11))
    Alert.objects.filter(pk=mixed.pk).update(resolved_at=None)
    Alert.objects.filter(pk=dismissed.pk).update(is_dismissed=True)
    alone, shared = (Delivery.objects.create(channel="email", due_at=days_ago(11)) for _ in range(2))
    alone.alerts.set([old])
    shared.alerts.set([old, mixed])

    assert retention.delete_old()["alerts"] == 1

    assert set(Alert.objects.all()) == {mixed, dismissed}
    assert Delivery.objects.get() == shared
