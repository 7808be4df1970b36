"""/metrics: counters of all processes on this machine, and gauges read off the tables at scrape."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, InterfaceError
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from core import heartbeat, redis
from core.jobs import kinds
from core.redis import RedisUnavailable
from ingestion.models import Dataset
from monitoring import consistency, performance
from monitoring.alerts import RULES
from monitoring.models import Alert, DriftCheck
from predictions import log
from training.models import ModelVersion

_AWAY = (DatabaseError, InterfaceError, *RedisUnavailable)


def _gauge(name: str, text: str, labels: list[str], samples: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(f"titanic_{name}", text, labels=labels)
    for values, number in samples.items():
        family.add_metric(list(values), number)
    return family


def _champion() -> Iterator[Metric]:
    champion = ModelVersion.objects.champion()
    if champion is not None:
        age = (timezone.now() - champion.created_at).total_seconds()
        yield _gauge("champion_version", "The version in charge", [], {(): champion.version})
        yield _gauge("champion_age_seconds", "Since the champion was made", [], {(): age})


def _dataset() -> Iterator[Metric]:
    newest = Dataset.objects.succeeded().first()
    if newest is not None and newest.finished_at is not None:
        age = (timezone.now() - newest.finished_at).total_seconds()
        yield _gauge("dataset_age_seconds", "Since the newest dataset was loaded", [], {(): age})


def _drift() -> Iterator[Metric]:
    check = DriftCheck.objects.succeeded().filter(drifted__isnull=False).prefetch_related("features").first()
    if check is None:
        return
    tests = {(test.name, test.test): test for test in check.features.all()}
    labels = ["feature", "test"]
    yield _gauge("drifted", "Whether the last drift check found drift", [], {(): float(bool(check.drifted))})
    p_values = {key: test.p_value for key, test in tests.items()}
    yield _gauge("drift_p_value", "p-value in the last drift check", labels, p_values)
    statistics = {key: test.statistic for key, test in tests.items()}
    yield _gauge("drift_statistic", "Test statistic in the last drift check", labels, statistics)


def _live() -> Iterator[Metric]:
    found = performance.live()
    if found is None:
        return
    yield _gauge(
        "live_outcomes", "Those of the latest outcomes that are of the champion's answers", [], {(): found.count}
    )
    if found.quality is not None:
        yield _gauge("live_accuracy", "Accuracy on those", [], {(): found.quality.accuracy})
        yield _gauge("live_brier_score", "Brier score on those", [], {(): found.quality.brier})


def _alerts() -> Iterator[Metric]:
    counts = Alert.objects.open().order_by().values_list("kind").annotate(count=Count("pk"))
    # A kind that is well is a 0: a rule on a series that is not there never fires, nor does it end.
    yield _gauge(
        "alerts_open",
        "Open alerts",
        ["kind"],
        {(kind,): 0.0 for kind in RULES} | {(kind,): float(count) for kind, count in counts},
    )


def _jobs() -> Iterator[Metric]:
    counts = {
        (str(model._meta.model_name), row["state"]): float(row["count"])
        for model in kinds()
        for row in model._default_manager.order_by().values("state").annotate(count=Count("pk"))
    }
    yield _gauge("jobs", "Jobs by kind and state", ["kind", "state"], counts)
    durations = {}
    for model in kinds():
        last = model._default_manager.filter(state="succeeded").first()
        if last is not None and last.duration is not None:
            durations[(str(model._meta.model_name),)] = last.duration.total_seconds()
    yield _gauge("job_last_duration_seconds", "How long the last job of a kind took", ["kind"], durations)


def _queues() -> Iterator[Metric]:
    with redis.client().pipeline(transaction=False) as pipeline:
        for queue in settings.QUEUES:
            pipeline.llen(queue)
        depths = pipeline.execute()
    depth = {(queue,): float(found) for queue, found in zip(settings.QUEUES, depths, strict=True)}
    yield _gauge("queue_depth", "Messages that wait for a worker", ["queue"], depth)
    ages = {(queue,): age for queue, age in heartbeat.ages().items() if age is not None}
    yield _gauge("canary_age_seconds", "Since a worker of the queue last answered", ["queue"], ages)
    yield _gauge("prediction_log_backlog", "Predictions not yet in PostgreSQL", [], {(): float(log.backlog())})


def _parity() -> Iterator[Metric]:
    found = consistency.last()
    if found is not None:
        age = (timezone.now() - found.at).total_seconds()
        yield _gauge("parity_age_seconds", "Since the last self-test", [], {(): age})
        doors = {(door,): float(agrees) for door, agrees in found.doors.items()}
        yield _gauge("parity", "Whether a door answered as the model itself does", ["door"], doors)


class _State:
    """What the tables and the queues say now; a service that is away is a 0, not an error."""

    def collect(self) -> Iterator[Metric]:
        up = {("database",): 1.0, ("redis",): 1.0}
        groups: list[tuple[str, Callable[[], Iterator[Metric]]]] = [
            ("database", _champion), ("database", _dataset), ("database", _drift), ("database", _alerts),
            ("database", _jobs), ("database", _live),
            ("redis", _queues), ("redis", _parity),
        ]  # fmt: skip
        for service, group in groups:
            if not up[(service,)]:
                continue
            try:
                yield from list(group())
            except _AWAY:
                up[(service,)] = 0.0
        yield _gauge("up", "Whether a service answers", ["service"], up)


class _Cache:
    """One scrape's answer serves all scrapes of the next moment."""

    seconds = 1.0

    def __init__(self) -> None:
        self._text = b""
        self._made_at = -self.seconds

    def text(self) -> bytes:
        if time.monotonic() - self._made_at >= self.seconds:
            self._text = self._collect()
            self._made_at = time.monotonic()
        return self._text

    @staticmethod
    def _collect() -> bytes:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(settings.METRICS_DIR))  # type: ignore[no-untyped-call]
        registry.register(_State())
        return generate_latest(registry)


_cache = _Cache()


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Everything Prometheus scrapes."""
    return HttpResponse(_cache.text(), content_type=CONTENT_TYPE_LATEST)
