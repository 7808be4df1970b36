"""Counters and timings of predictions."""

from collections import Counter as Tally
from collections.abc import Iterable
from functools import lru_cache

from prometheus_client import Counter, Histogram

from ingestion.passenger import LABEL
from predictions.log import LogEntry
from predictions.models import Channel

PREDICTIONS = Counter("prediction_count", "Predictions answered", ["model_version", LABEL, "source"])
SCORING_SECONDS = Histogram(
    "titanic_scoring_seconds",
    "Time to derive the features and score the rows of one request",
    buckets=(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1),
)


def initialise(version: int) -> None:
    """Start a champion's counters at 0: a series that begins with its first prediction shows no increase."""
    for source in Channel.values:
        for predicted in (False, True):
            counter_of(version, predicted, source)


def count(entries: Iterable[LogEntry]) -> None:
    """Count logged predictions."""
    tally = Tally((entry.model_version, entry.predicted, entry.source) for entry in entries)
    for labels, number in tally.items():
        counter_of(*labels).inc(number)


@lru_cache(maxsize=64)
def counter_of(version: int, predicted: bool, source: str) -> Counter:  # noqa: FBT001 - a label of the metric
    """Return the counter of these labels, cached: looking it up costs more than counting."""
    return PREDICTIONS.labels(version, "true" if predicted else "false", source)
