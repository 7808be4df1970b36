"""/metrics: counters of all processes on this machine, and gauges read off the tables at scrape."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache
from django.db import DatabaseError, InterfaceError
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from core import heartbeat, redis
from core.jobs import State, kinds
from core.redis import RedisUnavailable
from ingestion.models import Dataset
from ingestion.passenger import LABEL
from monitoring import consistency, performance
from monitoring.alerts import RULES
from monitoring.models import Alert, DriftCheck
from predictions import log
from predictions.models import Channel, PredictionCount
from training.models import ModelVersion, Stage

Samples = float | Mapping[str, float] | Mapping[tuple[str, str], float]


def _gauge(name: str, text: str, samples: Samples, *labels: str) -> Metric:
    """Return a gauge with one number, or with one for each value of its label or pair of values of its labels."""
    family = GaugeMetricFamily(f"titanic_{name}", text, labels=labels)
    if not isinstance(samples, Mapping):
        family.add_metric((), samples)
        return family
    for values, number in samples.items():
        family.add_metric((values,) if isinstance(values, str) else values, number)
    return family


#: The series of the last labels that were counted are shown: a champion of long ago has no increase.
_MOST_COUNTS = 100


class Gauges:
    """Gauges read off the tables and queues; a service that is unavailable is a 0, not an error."""

    def collect(self) -> Iterator[Metric]:
        up = {"database": 0.0, "redis": 0.0}
        for service, groups in (
            ("database", (self.predictions, self.model, self.operation)),
            ("redis", (self.queues,)),
        ):
            with suppress(DatabaseError, InterfaceError, *RedisUnavailable):
                for gauges in groups:
                    yield from gauges()
                up[service] = 1.0
        yield _gauge("up", "Whether a service is available", up, "service")

    def predictions(self) -> Iterator[Metric]:
        """Read the log's predictions, counted where they are stored: exact over crashes and restarts."""
        champions = ModelVersion.objects.filter(stage=Stage.CHAMPION).values_list("version", flat=True)
        # A series that begins with its first prediction would show no increase.
        counts = {
            (version, predicted, source): 0
            for version in champions
            for predicted in (False, True)
            for source in Channel.values
        }
        stored = PredictionCount.objects.order_by("-counted_at")[:_MOST_COUNTS]
        counts |= {(row.model_version, row.predicted, row.source): row.count for row in stored}
        names = sorted(("model_version", LABEL, "source"))
        family = CounterMetricFamily("prediction_count", "Predictions in the log", labels=names)
        for (version, predicted, source), count in counts.items():
            labels = {"model_version": str(version), LABEL: "true" if predicted else "false", "source": source}
            family.add_metric([labels[name] for name in names], count)
        yield family

    def model(self) -> Iterator[Metric]:
        """Read the champion, its last performance check, and drift."""
        champion = ModelVersion.objects.champion()
        if champion is not None:
            age = (timezone.now() - champion.created_at).total_seconds()
            yield _gauge("champion_version", "The version that serves", champion.version)
            yield _gauge("champion_age_seconds", "Since the champion was made", age)
        live = performance.latest()
        if live is not None:
            yield _gauge(
                "live_outcomes",
                "Outcomes that the last performance check measured the champion on",
                live.outcome_count or 0,
            )
            for name, text, figure in (
                ("live_accuracy", "Accuracy on those", live.accuracy),
                ("live_brier_score", "Brier score on those", live.brier),
                (
                    "estimated_accuracy",
                    "Accuracy of the latest live predictions, estimated without outcomes",
                    live.estimated_accuracy,
                ),
                (
                    "outcomes_known_share",
                    "Share of the latest live predictions whose outcome is known",
                    live.known_share,
                ),
            ):
                if figure is not None:
                    yield _gauge(name, text, figure)
        check = DriftCheck.objects.succeeded().filter(drifted__isnull=False).prefetch_related("features").first()
        if check is not None:
            yield _gauge("drifted", "Whether the last drift check found drift", float(bool(check.drifted)))
            for name, text in (("p_value", "p-value"), ("statistic", "Test statistic")):
                figures = {(test.name, test.test): getattr(test, name) for test in check.features.all()}
                yield _gauge(f"drift_{name}", f"{text} in the last drift check", figures, "feature", "test")

    def operation(self) -> Iterator[Metric]:
        """Read datasets, jobs and alerts."""
        newest = Dataset.objects.succeeded().first()
        if newest is not None and newest.finished_at is not None:
            age = (timezone.now() - newest.finished_at).total_seconds()
            yield _gauge("dataset_age_seconds", "Since the newest dataset was loaded", age)
        # A kind without alerts is a 0: a Prometheus rule on a missing series neither fires nor ends.
        alerts = Counter(dict.fromkeys(RULES, 0))
        alerts.update(Alert.objects.open().values_list("kind", flat=True))
        yield _gauge("alerts_open", "Open alerts", alerts, "kind")
        counts: dict[tuple[str, str], float] = {}
        durations: dict[str, float] = {}
        for model in kinds():
            kind, jobs = str(model._meta.model_name), model._default_manager
            for state, count in jobs.order_by().values_list("state").annotate(count=Count("pk")):
                counts[kind, state] = count
            last = jobs.filter(state=State.SUCCEEDED).first()
            if last is not None and last.duration is not None:
                durations[kind] = last.duration.total_seconds()
        yield _gauge("jobs", "Jobs by kind and state", counts, "kind", "state")
        yield _gauge("job_last_duration_seconds", "How long the last job of a kind took", durations, "kind")

    def queues(self) -> Iterator[Metric]:
        """Read the queues, the prediction log's backlog, and the consistency check."""
        with redis.client().pipeline(transaction=False) as pipeline:
            for queue in settings.QUEUES:
                pipeline.llen(queue)
            depths = dict(zip(settings.QUEUES, pipeline.execute(), strict=True))
        yield _gauge("queue_depth", "Messages that wait for a worker", depths, "queue")
        ages = {queue: age for queue, age in heartbeat.ages().items() if age is not None}
        yield _gauge("canary_age_seconds", "Since the last heartbeat of the queue", ages, "queue")
        yield _gauge("prediction_log_backlog", "Predictions not yet in PostgreSQL", log.backlog())
        check = consistency.last()
        if check is not None:
            age = (timezone.now() - check.at).total_seconds()
            yield _gauge("parity_age_seconds", "Since the last consistency check", age)
            channels = {result.channel: result.is_consistent for result in check.results}
            yield _gauge("parity", "Whether a channel's answers are the model's own", channels, "door")


def exposition() -> bytes:
    """Return counters and gauges in Prometheus' text format."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(settings.METRICS_DIR))  # type: ignore[no-untyped-call]
    registry.register(Gauges())
    return generate_latest(registry)


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer what Prometheus scrapes; one scrape's text serves all scrapes of the next second."""
    return HttpResponse(cache.get_or_set("metrics", exposition, timeout=1), content_type=CONTENT_TYPE_LATEST)
