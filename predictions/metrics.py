"""What serving counts."""

from collections import Counter as Tally
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from prometheus_client import Counter, Histogram

from predictions.models import Channel

PREDICTIONS = Counter("prediction_count", "Predictions answered", ["model_version", "survived", "source"])
SCORING_SECONDS = Histogram(
    "titanic_scoring_seconds",
    "Features and model for those who are answered at a time",
    buckets=(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1),
)


def start(version: int) -> None:
    """Have a champion's counters stand at 0: a series that begins with its first prediction shows no increase."""
    for source in Channel.values:
        for survived in (False, True):
            counter_of(version, survived, source)


def count(entries: Iterable[Any]) -> None:
    """Count predictions that are logged."""
    tally = Tally((entry.model_version, entry.survived, entry.source) for entry in entries)
    for kind, number in tally.items():
        counter_of(*kind).inc(number)


@lru_cache(maxsize=64)
def counter_of(version: int, survived: bool, source: str) -> Any:  # noqa: FBT001
    """The counter of these labels; to look one up among its siblings costs more than to count."""
    return PREDICTIONS.labels(version, "true" if survived else "false", source)
