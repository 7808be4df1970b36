"""One row of every model that the admin knows, without a training: for tests of who may look at what."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.utils import timezone
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, SolarSchedule

from core.jobs import State
from core.models import AuditEntry, JobLogLine, StoredAnswer
from features.models import FeatureBatch
from ingestion import partitions, sources
from ingestion.models import Dataset, Passenger, RejectedRow, RowProblem, Source
from monitoring.models import (
    Alert,
    AlertRule,
    Delivery,
    DriftCheck,
    DriftWatch,
    FeatureDrift,
    LiveFigures,
    PerformanceCheck,
    Retraining,
)
from predictions.models import DeadLetter, Outcome, Prediction, PredictionCount, ScoringJob, ScoringPart, ShadowScore
from tests.model_figures import metrics
from tests.people import NOBODY
from titanic_site.models import AccessToken
from training.models import ModelVersion, Reproduction, Stage, StageChange, TrainingRun

#: In the address of the source, which carries it.
PASSWORD = "seacret"
_FIGURES = {"byte_count": 1, "golden_rows": {}, "made_with": {}, "parameters": {}}


def one_of_each(user: User) -> dict[type[Any], Any]:
    """Row by model; every job is over, so that it can be started again."""
    now = timezone.now()
    over = {"state": State.FAILED}
    source = Source(name="old", uri=f"postgresql://ann:{PASSWORD}@db/ship#crew")
    sources.save(source, every=sources.DEFAULT_EVERY, is_enabled=True)
    dataset = Dataset.objects.create(name="x", uri="x", **over)
    partitions.create(dataset)
    partitions.attach(dataset)
    batch = FeatureBatch.objects.create(dataset=dataset, **over)
    run = TrainingRun.objects.create(feature_batch=batch, **over)
    version = ModelVersion.objects.create(
        version=1, run=run, onnx_file="x", pkl_file="x", metrics=metrics(), **_FIGURES
    )
    check = DriftCheck.objects.create(version=version, **over)
    watch = DriftWatch.objects.create(version=version)
    test = {"statistic": 1, "p_value": 1, "threshold": 0.1, "effect": 0, "drifted": False}
    answer = {"model_version": 1, "probability": 0.5, "predicted": True, "created_at": now}
    prediction = Prediction.objects.create(source="api", threshold=0.5, **answer, **NOBODY)
    scoring = ScoringJob.objects.create(name="x.csv", upload="x.csv", **over)
    rows = [
        user, source, source.schedule, source.schedule.interval, dataset, batch, run, version, check, watch,
        prediction, scoring,
        AccessToken.objects.create(user)[0],
        Group.objects.create(name="crew"),
        CrontabSchedule.objects.create(),
        SolarSchedule.objects.create(event="sunset", latitude=41, longitude=-50),
        ClockedSchedule.objects.create(clocked_time=now),
        Passenger.objects.create(dataset=dataset, line_number=2, passenger_id="1", **NOBODY),
        RowProblem.objects.create(dataset=dataset, line_number=3, column="x", code="x", message="x"),
        RejectedRow.objects.create(dataset=dataset, line_number=3, cells={}),
        FeatureDrift.objects.create(drift_check=check, name="Age", test="ks", **test),
        PerformanceCheck.objects.create(version=version, **over),
        Alert.objects.create(kind="job", subject="x", message="x"),
        AlertRule.objects.create(kind="drift"),
        Delivery.objects.create(channel="email"),
        LiveFigures.objects.create(
            node="x", at=now, prediction_count=1, positive_count=1, request_count=1, error_count=0, latency_counts=[1]
        ),
        Retraining.objects.create(run=run),
        ScoringPart.objects.create(job=scoring, number=0, start=0, end=1, line=1),
        DeadLetter.objects.create(entry_id="1-1", raw=b"x", error="x", attempts=1),
        ShadowScore.objects.create(prediction_id=prediction.pk, **answer),
        PredictionCount.objects.create(model_version=1, predicted=True, source="api", count=1, counted_at=now),
        Outcome.objects.create(prediction_id=prediction.pk, actual=True),
        Reproduction.objects.create(version=version, **over),
        JobLogLine.objects.create(task_id="dataset-1", level=20, text="x"),
        StoredAnswer.objects.create(key="x"),
        AuditEntry.objects.create(actor_kind="user", action="added"),
        StageChange.objects.create(version=version, before=Stage.CANDIDATE, after=Stage.RETIRED, by=user),
    ]  # fmt: skip
    found = {type(row): row for row in rows}
    assert found.keys() == admin.site._registry.keys()
    return found
