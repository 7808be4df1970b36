"""/metrics: counters of all processes on this machine, of the prediction log, and gauges."""

import shutil
from collections.abc import Iterator
from contextlib import suppress

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric

from core.redis import RedisUnavailable
from features.definition import DERIVED, FEATURES
from ingestion.passenger import LABEL
from monitoring import consistency, figures
from monitoring.figures import gauge
from monitoring.models import DriftWatch
from monitoring.process_metrics import ProcessMetrics
from monitoring.worker_metrics import queues
from predictions import drift_state, log
from predictions.models import Channel, PredictionCount
from training.models import ModelVersion, Stage

#: The series of the last labels that were counted are shown: a champion of long ago has no increase.
_MOST_COUNTS = 100


class _Live:
    """What each scrape reads anew; a service that is unavailable is a 0, not an error."""

    def collect(self) -> Iterator[Metric]:
        up = {"database": 0.0, "redis": 0.0}
        for service, gauges in (("database", self.predictions), ("redis", self.queues)):
            with suppress(DatabaseError, InterfaceError, *RedisUnavailable):
                yield from gauges()
                up[service] = 1.0
        yield gauge("up", "Whether a service is available", up, "service")
        disk = shutil.disk_usage(settings.HOME)
        yield gauge("disk_size_bytes", "Size of the file system with the home directory", disk.total)
        yield gauge("disk_free_bytes", "Free space there", disk.free)

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
        stored = PredictionCount.objects.order_by("-counted_at")
        columns = stored.values_list("model_version", "predicted", "source", "count")[:_MOST_COUNTS]
        counts |= {(version, predicted, source): count for version, predicted, source, count in columns}
        names = sorted(("model_version", LABEL, "source"))
        family = CounterMetricFamily("prediction_count", "Predictions in the log", labels=names)
        for (version, predicted, source), count in counts.items():
            labels = {"model_version": str(version), LABEL: "true" if predicted else "false", "source": source}
            family.add_metric([labels[name] for name in names], count)
        yield family

    def queues(self) -> Iterator[Metric]:
        """Read the queues, the prediction log's backlog, the drift watch, and the consistency check."""
        yield from queues()
        yield gauge("prediction_log_backlog", "Predictions not yet in PostgreSQL", log.backlog())
        watch = drift_state.read()
        states = {state: float(state == watch.state) for state in DriftWatch.State.values}
        yield gauge("drift_watch", "1 for the state of the drift watch", states, "state")
        drifted = {name: float(name in watch.features) for name in FEATURES if name not in DERIVED}
        yield gauge("drift_watch_feature", "Whether the feature has drifted, says the watch", drifted, "feature")
        if watch.since is not None:
            since = watch.since.timestamp()
            yield gauge("drift_watch_since_timestamp_seconds", "Since when the watch has its state", since)
        check = consistency.last()
        if check is not None:
            age = (timezone.now() - check.at).total_seconds()
            yield gauge("parity_age_seconds", "Since the last consistency check", age)
            channels = {result.channel: result.is_consistent for result in check.results}
            yield gauge("parity", "Whether a channel's answers are the model's own", channels, "door")


def exposition() -> bytes:
    """Return all metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(ProcessMetrics(settings.METRICS_DIR))
    registry.register(_Live())
    text = generate_latest(registry)
    with suppress(DatabaseError, InterfaceError):
        text += figures.read()
    return text


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer what Prometheus scrapes; one scrape's text serves all scrapes of the next second."""
    return HttpResponse(cache.get_or_set("metrics", exposition, timeout=1), content_type=CONTENT_TYPE_LATEST)
