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
from core.jobs import State, kinds
from core.redis import RedisUnavailable
from ingestion.models import Dataset
from monitoring import consistency, performance
from monitoring.alerts import RULES
from monitoring.models import Alert, DriftCheck
from predictions import log
from training.models import ModelVersion

_UNAVAILABLE = (DatabaseError, InterfaceError, *RedisUnavailable)


def _gauge(name: str, text: str, labels: list[str], samples: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(f"titanic_{name}", text, labels=labels)
    for values, number in samples.items():
        family.add_metric(list(values), number)
    return family


def _champion() -> Iterator[Metric]:
    champion = ModelVersion.objects.champion()
    if champion is not None:
        age = (timezone.now() - champion.created_at).total_seconds()
        yield _gauge("champion_version", "The version that serves", [], {(): champion.version})
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
    live = performance.live()
    if live is None:
        return
    yield _gauge("live_outcomes", "Latest outcomes that are of the champion's predictions", [], {(): live.count})
    if live.quality is not None:
        yield _gauge("live_accuracy", "Accuracy on those", [], {(): live.quality.accuracy})
        yield _gauge("live_brier_score", "Brier score on those", [], {(): live.quality.brier})


def _alerts() -> Iterator[Metric]:
    counts = Alert.objects.open().order_by().values_list("kind").annotate(count=Count("pk"))
    # A kind without alerts is a 0: a Prometheus rule on a missing series neither fires nor ends.
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
        last = model._default_manager.filter(state=State.SUCCEEDED).first()
        if last is not None and last.duration is not None:
            durations[(str(model._meta.model_name),)] = last.duration.total_seconds()
    yield _gauge("job_last_duration_seconds", "How long the last job of a kind took", ["kind"], durations)


def _queues() -> Iterator[Metric]:
    with redis.client().pipeline(transaction=False) as pipeline:
        for queue in settings.QUEUES:
            pipeline.llen(queue)
        depths = pipeline.execute()
    depth = {(queue,): float(count) for queue, count in zip(settings.QUEUES, depths, strict=True)}
    yield _gauge("queue_depth", "Messages that wait for a worker", ["queue"], depth)
    ages = {(queue,): age for queue, age in heartbeat.ages().items() if age is not None}
    yield _gauge("canary_age_seconds", "Since the last heartbeat of the queue", ["queue"], ages)
    yield _gauge("prediction_log_backlog", "Predictions not yet in PostgreSQL", [], {(): float(log.backlog())})


def _consistency() -> Iterator[Metric]:
    check = consistency.last()
    if check is not None:
        age = (timezone.now() - check.at).total_seconds()
        yield _gauge("parity_age_seconds", "Since the last consistency check", [], {(): age})
        channels = {(channel,): float(is_consistent) for channel, is_consistent in check.channels.items()}
        yield _gauge("parity", "Whether a channel's answers are the model's own", ["door"], channels)


class _State:
    """Gauges read off the tables and queues; a service that is unavailable is a 0, not an error."""

    def collect(self) -> Iterator[Metric]:
        up = {("database",): 1.0, ("redis",): 1.0}
        groups: list[tuple[str, Callable[[], Iterator[Metric]]]] = [
            ("database", _champion), ("database", _dataset), ("database", _drift), ("database", _alerts),
            ("database", _jobs), ("database", _live),
            ("redis", _queues), ("redis", _consistency),
        ]  # fmt: skip
        for service, group in groups:
            if not up[(service,)]:
                continue
            try:
                yield from list(group())
            except _UNAVAILABLE:
                up[(service,)] = 0.0
        yield _gauge("up", "Whether a service is available", ["service"], up)


class _Cache:
    """Keeps one scrape's text for all scrapes of the next second."""

    seconds = 1.0

    def __init__(self) -> None:
        self._text = b""
        self._made_at = -self.seconds

    def text(self) -> bytes:
        if time.monotonic() - self._made_at >= self.seconds:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=str(settings.METRICS_DIR))  # type: ignore[no-untyped-call]
            registry.register(_State())
            self._text = generate_latest(registry)
            self._made_at = time.monotonic()
        return self._text


_cache = _Cache()


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer what Prometheus scrapes."""
    return HttpResponse(_cache.text(), content_type=CONTENT_TYPE_LATEST)
