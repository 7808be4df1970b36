"""Gauges that take queries: a worker measures them every few seconds, so that a scrape does not."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import cast

from django.db.models import Count
from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from core import redis
from core.jobs import State, kinds
from core.redis import RedisUnavailable
from ingestion.models import Dataset
from monitoring import performance
from monitoring.alert_reasons import RULES
from monitoring.models import Alert, DriftCheck, DriftWatch
from training.models import ModelVersion

#: After this many seconds without a worker, the next scrape measures them itself.
LIFETIME_SECONDS = 30
_KEY = "monitoring:figures"

Samples = float | Mapping[str, float] | Mapping[tuple[str, str], float]


def gauge(name: str, text: str, samples: Samples, *labels: str) -> Metric:
    """Return a gauge with one number, or with one for each value of its label or pair of values of its labels."""
    family = GaugeMetricFamily(f"titanic_{name}", text, labels=labels)
    if not isinstance(samples, Mapping):
        family.add_metric((), samples)
        return family
    for values, number in samples.items():
        family.add_metric((values,) if isinstance(values, str) else values, number)
    return family


def read() -> bytes:
    """Return the gauges in Prometheus' text format, half a minute old at most; raises DatabaseError."""
    with suppress(*RedisUnavailable):
        stored = cast("bytes | None", redis.client().get(_KEY))
        if stored is not None:
            return stored
    return measure()


def measure() -> bytes:
    """Measure the gauges, store them for the next scrapes and return them; raises DatabaseError."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures())
    text = generate_latest(registry)
    with suppress(*RedisUnavailable):
        redis.client().set(_KEY, text, ex=LIFETIME_SECONDS)
    return text


class _Figures:
    """Champion, performance, drift, datasets, alerts and jobs, as the tables have them."""

    def collect(self) -> Iterator[Metric]:
        yield gauge(
            "measured_timestamp_seconds", "When the gauges of this group were measured", timezone.now().timestamp()
        )
        yield from self.model()
        yield from self.operation()

    def model(self) -> Iterator[Metric]:
        """Read the champion, its last performance check, and drift."""
        champion = ModelVersion.objects.champion()
        if champion is not None:
            age = (timezone.now() - champion.created_at).total_seconds()
            yield gauge("champion_version", "The version that serves", champion.version)
            yield gauge("champion_age_seconds", "Since the champion was made", age)
            accuracy = champion.evaluation.cross_validation.accuracy.value
            yield gauge("expected_accuracy", "Accuracy of the champion in cross-validation", accuracy)
            watch = DriftWatch.objects.filter(version=champion).only("prediction_count", "looked_at").first()
            if watch is not None:
                count = watch.prediction_count
                yield gauge("drift_watch_predictions", "Live predictions that the drift watch has looked at", count)
        live = performance.latest()
        if live is not None:
            yield gauge(
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
                    yield gauge(name, text, figure)
        checks = DriftCheck.objects.routine().succeeded().filter(drifted__isnull=False)
        check = checks.prefetch_related("features").first()
        if check is not None:
            yield gauge("drifted", "Whether the last drift check found drift", float(bool(check.drifted)))
            for name, text in (("p_value", "p-value"), ("statistic", "Test statistic")):
                figures = {(test.name, test.test): getattr(test, name) for test in check.features.all()}
                yield gauge(f"drift_{name}", f"{text} in the last drift check", figures, "feature", "test")

    def operation(self) -> Iterator[Metric]:
        """Read datasets, jobs and alerts."""
        newest = Dataset.objects.succeeded().first()
        if newest is not None and newest.finished_at is not None:
            age = (timezone.now() - newest.finished_at).total_seconds()
            yield gauge("dataset_age_seconds", "Since the newest dataset was loaded", age)
        # A kind without alerts is a 0: a Prometheus rule on a missing series neither fires nor ends.
        alerts = Counter(dict.fromkeys(RULES, 0))
        alerts.update(Alert.objects.open().values_list("kind", flat=True))
        yield gauge("alerts_open", "Open alerts", alerts, "kind")
        counts: dict[tuple[str, str], float] = {
            (str(model._meta.model_name), state): 0 for model in kinds() for state in State.values
        }
        durations: dict[str, float] = {}
        for model in kinds():
            kind, jobs = str(model._meta.model_name), model._default_manager
            for state, count in jobs.order_by().values_list("state").annotate(count=Count("pk")):
                counts[kind, state] = count
            last = jobs.filter(state=State.SUCCEEDED).first()
            if last is not None and last.duration is not None:
                durations[kind] = last.duration.total_seconds()
        yield gauge("jobs", "Jobs by kind and state", counts, "kind", "state")
        yield gauge("job_last_duration_seconds", "How long the last job of a kind took", durations, "kind")
