"""The course of live traffic: counters are kept every ten minutes, and drawn for the overview.

Nothing is counted in the prediction log, which may have millions of rows: predictions are counted where they are
stored (`PredictionCount`), requests by the web processes. What a counter rose by from one row to the next is what
happened in between.
"""

import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate, groupby, pairwise
from operator import attrgetter

from django.conf import settings
from django.db.models import Max, Min, Q, Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from core.charts import Chart, Mark, Series
from ingestion.passenger import LABEL_WORDS
from monitoring.models import LiveFigures, PerformanceCheck
from monitoring.process_metrics import ProcessMetrics
from predictions import drift_state
from predictions.models import Channel, PredictionCount
from training.models import StageChange

#: Counters are kept once in so long, and for so long.
STEP = timedelta(minutes=10)
KEPT = timedelta(days=92)
#: What may be drawn, by its name in the address: how long, and the width of a point.
RANGES = {
    "hours": (timedelta(hours=6), STEP),
    "day": (timedelta(days=1), 2 * STEP),
    "week": (timedelta(days=7), timedelta(hours=2)),
    "month": (timedelta(days=30), timedelta(hours=12)),
}
_RESPONSES = "django_http_responses_total_by_status_view_method"
_LATENCY = "django_http_requests_latency_seconds_by_view_method"
_QUANTILES = {"p50": 0.5, "p95": 0.95}
#: A line of more points is drawn without them.
_MOST_MARKED = 40
#: Of more promotions the last ones are named.
_MOST_MARKS = 20


@dataclass
class Step:
    """What happened in a span of time that begins at `at`."""

    at: datetime
    prediction_count: int = 0
    positive_count: int = 0
    request_count: int = 0
    error_count: int = 0
    latency_counts: list[int] = field(default_factory=lambda: [0] * len(settings.PROMETHEUS_LATENCY_BUCKETS))
    drifted_count: int | None = None

    def latency(self, share: float) -> float | None:
        """Return the seconds in which this share of the requests was answered, to a bucket; None without requests.

        Within a bucket times are taken to be spread evenly; beyond the last bound there is no telling.
        """
        cumulated = list(accumulate(self.latency_counts))
        wanted = share * cumulated[-1]
        lower, before = 0.0, 0
        for upper, count in zip(settings.PROMETHEUS_LATENCY_BUCKETS, cumulated, strict=True):
            if cumulated[-1] and count >= wanted and count > before:
                return (
                    lower if upper == float("inf") else lower + (upper - lower) * (wanted - before) / (count - before)
                )
            lower, before = upper, count
        return None


def record() -> None:
    """Keep the counters as they stand now in the row of the present step; raises DatabaseError, RedisError."""
    node, at = os.uname().nodename, _begin(timezone.now(), STEP)
    counts = PredictionCount.objects.exclude(source=Channel.CSV).aggregate(
        all=Sum("count", default=0), positive=Sum("count", filter=Q(predicted=True), default=0)
    )
    requests, errors, latency = _requests()
    watch = drift_state.read()
    figures = {
        "prediction_count": counts["all"],
        "positive_count": counts["positive"],
        "request_count": requests,
        "error_count": errors,
        "latency_counts": latency,
        "drifted_count": None if watch.state == "unknown" else len(watch.features),
    }
    if not LiveFigures.objects.filter(node=node).exists():
        # What the first step rises from.
        LiveFigures.objects.create(node=node, at=at - STEP, **figures)
    LiveFigures.objects.update_or_create(node=node, at=at, defaults=figures)


def answered_count(since: datetime) -> int:
    """Return how many predictions were answered since a moment, without those of files."""
    ends = LiveFigures.objects.filter(at__gte=since).aggregate(
        first=Min("prediction_count"), last=Max("prediction_count")
    )
    return (ends["last"] or 0) - (ends["first"] or 0)


def delete_before(moment: datetime) -> int:
    """Delete older rows, and return how many those were."""
    return LiveFigures.objects.filter(at__lt=moment).delete()[0]


def steps(*, since: datetime, width: timedelta) -> list[Step]:
    """Return what happened since a moment in spans of this width, oldest first; none where nothing was recorded."""
    rows = list(LiveFigures.objects.filter(at__gte=since - STEP).order_by("node", "at"))
    spans: dict[datetime, Step] = {}
    for _node, of_node in groupby(rows, key=attrgetter("node")):
        for before, row in pairwise(of_node):
            begin = _begin(row.at, width)
            span = spans.setdefault(begin, Step(begin))
            # The counters began anew.
            is_reset = row.request_count < before.request_count
            span.request_count += row.request_count - (0 if is_reset else before.request_count)
            span.error_count += row.error_count - (0 if is_reset else before.error_count)
            if len(row.latency_counts) == len(before.latency_counts) == len(span.latency_counts):
                rises = zip(span.latency_counts, row.latency_counts, before.latency_counts, strict=True)
                span.latency_counts = [sum_ + now - (0 if is_reset else then) for sum_, now, then in rises]
            if row.drifted_count is not None:
                span.drifted_count = max(span.drifted_count or 0, row.drifted_count)
    # Each machine wrote what all of them predicted: together the rows are one series.
    for before, row in pairwise(sorted(rows, key=attrgetter("at", "prediction_count"))):
        if row.at < since:
            continue
        begin = _begin(row.at, width)
        span = spans.setdefault(begin, Step(begin))
        span.prediction_count += row.prediction_count - before.prediction_count
        span.positive_count += row.positive_count - before.positive_count
    return [spans[begin] for begin in sorted(spans)]


def charts(name: str) -> list[Chart]:
    """Draw a range of `RANGES`: predictions, their positive share, errors, latency, drift and accuracy on outcomes."""
    length, width = RANGES[name]
    since = timezone.now() - length
    spans = steps(since=since, width=width)
    promotions = StageChange.objects.promotions().filter(at__gte=since)
    marks = [Mark(change.at, str(change.version)) for change in promotions[:_MOST_MARKS]]
    predicted = [span for span in spans if span.prediction_count]
    answered = [span for span in spans if span.request_count]
    watched = [span for span in spans if span.drifted_count is not None]
    checks = PerformanceCheck.objects.succeeded().filter(finished_at__gte=since).order_by("finished_at")
    accuracies = list(checks.values_list("finished_at", "accuracy", "estimated_accuracy"))
    measured = [(at, accuracy) for at, accuracy, _estimated in accuracies if at and accuracy is not None]
    estimated = [(at, accuracy) for at, _measured, accuracy in accuracies if at and accuracy is not None]
    share = _("Share predicted: %(label)s") % {"label": LABEL_WORDS[True]}
    lines = {
        ("predictions", _("Predictions")): [
            Series(_("Predictions"), [span.at for span in spans], [span.prediction_count for span in spans])
        ],
        ("positive-share", share): [
            Series(
                share,
                [span.at for span in predicted],
                [span.positive_count / span.prediction_count for span in predicted],
            )
        ],
        ("latency", _("Response time in milliseconds")): [
            Series(
                label,
                [span.at for span in answered],
                [round(1000 * (span.latency(quantile) or 0), 2) for span in answered],
            )
            for label, quantile in _QUANTILES.items()
        ],
        ("errors", _("Share of requests with a server error")): [
            Series(
                _("Server errors"),
                [span.at for span in answered],
                [span.error_count / span.request_count for span in answered],
            )
        ],
        ("drift", _("Drifted features")): [
            Series(_("Drifted features"), [span.at for span in watched], [span.drifted_count or 0 for span in watched])
        ],
        ("accuracy", _("Accuracy")): [
            Series(label, [at for at, _accuracy in points], [accuracy for _at, accuracy in points])
            for label, points in ((_("On outcomes"), measured), (_("Estimated without outcomes"), estimated))
        ],
    }
    return [
        Chart(
            chart,
            "times",
            title,
            _("%(title)s over time; the table below has the figures.") % {"title": title},
            _("Time"),
            title,
            [replace(line, is_marked=len(line.x) <= _MOST_MARKED) for line in series if line.x],
            is_from_zero=chart != "accuracy",
            marks=marks,
        )
        for (chart, title), series in lines.items()
    ]


def _begin(moment: datetime, width: timedelta) -> datetime:
    """Return the beginning of the span that a moment is in."""
    return datetime.fromtimestamp(moment.timestamp() // width.total_seconds() * width.total_seconds(), UTC)


def _requests() -> tuple[int, int, list[int]]:
    """Count this machine's responses, the server errors among them, and how many took how long, by bucket."""
    bounds = {float(bound): index for index, bound in enumerate(settings.PROMETHEUS_LATENCY_BUCKETS)}
    total = errors = 0.0
    cumulated = [0.0] * len(bounds)
    for metric in ProcessMetrics(settings.METRICS_DIR).collect():
        for sample in metric.samples:
            if metric.name == _RESPONSES:
                total += sample.value
                errors += sample.value if sample.labels["status"] == "5xx" else 0
            elif metric.name == _LATENCY and "le" in sample.labels:
                cumulated[bounds[float(sample.labels["le"])]] += sample.value
    by_bucket = [count - before for before, count in pairwise([0.0, *cumulated])]
    return int(total), int(errors), [max(int(count), 0) for count in by_bucket]
