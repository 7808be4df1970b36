"""What a version's figures say, read in one place for its page, its card and the comparison.

Versions made by older releases lack some figures: what is not there is None or empty, and nothing is shown of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from django.utils.translation import gettext_lazy

from ingestion.passenger import VERBOSE_NAMES
from training.models import ModelVersion

#: Figure -> its name, and whether more is better.
FIGURES: Mapping[str, tuple[Any, bool]] = {
    "accuracy": (gettext_lazy("Accuracy"), True),
    "roc_auc": (gettext_lazy("ROC AUC"), True),
    "average_precision": (gettext_lazy("Average precision"), True),
    "log_loss": (gettext_lazy("Log loss"), False),
    "brier": (gettext_lazy("Brier score"), False),
    "ece": (gettext_lazy("Calibration error"), False),
}
CROSS_VALIDATION, HOLD_OUT = "cross_validation", "hold_out"
#: On fewer passengers a slice's figures are chance, and it is not called the worst.
LEAST_ROWS = 20
_WORST = 3


@dataclass(frozen=True)
class Estimate:
    """A figure and how sure it is."""

    value: float
    spread: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, found: Any, interval: Sequence[float] | None = None) -> Self | None:
        """From a mean with spread and bounds, or from a number and its interval; None from nothing."""
        if found is None:
            return None
        if isinstance(found, Mapping):
            return cls(found["mean"], found.get("spread"), found.get("low"), found.get("high"))
        low, high = interval or (None, None)
        return cls(found, None, low, high)


@dataclass(frozen=True)
class Figure:
    """One figure by every way of measuring it."""

    name: str
    label: Any
    is_more_better: bool
    cross_validation: Estimate | None
    hold_out: Estimate | None
    ungrouped: Estimate | None
    baseline: Estimate | None


@dataclass(frozen=True)
class Slice:
    """How good the model is on some of the passengers."""

    slice: str
    rows: int
    share: float
    predicted: float
    accuracy: Estimate
    log_loss: float
    is_worst: bool = False


@dataclass(frozen=True)
class Confusion:
    """What was said against what happened, on the hold-out, at the threshold."""

    true_negative: int
    false_positive: int
    false_negative: int
    true_positive: int

    @property
    def recall(self) -> float | None:
        """The share found of those with the label."""
        return _share(self.true_positive, self.false_negative)

    @property
    def specificity(self) -> float | None:
        """The share found of those without it."""
        return _share(self.true_negative, self.false_positive)

    @property
    def precision(self) -> float | None:
        """How often a yes is right."""
        return _share(self.true_positive, self.false_positive)


@dataclass(frozen=True)
class Report:
    """A version's metrics, typed."""

    metrics: Mapping[str, Any]
    figures: Sequence[Figure]
    confusion: Confusion | None

    @classmethod
    def of(cls, version: ModelVersion) -> Self:
        """Read a version's metrics."""
        metrics = version.metrics
        confusion = metrics.get(HOLD_OUT, {}).get("confusion")
        figures = [found for name in FIGURES if (found := _figure(metrics, name))]
        return cls(metrics, figures, Confusion(**confusion) if confusion else None)

    @property
    def has_ungrouped(self) -> bool:
        return "ungrouped" in self.metrics

    @property
    def folds(self) -> int | None:
        return self._validation.get("folds")

    @property
    def repeats(self) -> int | None:
        return self._validation.get("repeats")

    @property
    def grouped_by(self) -> str:
        """What people call the column by which folds were grouped."""
        name = self._validation.get("grouped_by", "")
        return str(VERBOSE_NAMES.get(name, name)).lower()

    @property
    def rows(self) -> int | None:
        return self._validation.get("rows")

    @property
    def holdout_rows(self) -> int | None:
        found: int | None = self.metrics.get(HOLD_OUT, {}).get("rows")
        return found

    @property
    def importance(self) -> list[dict[str, Any]]:
        """Features, the most telling first."""
        return sorted(self.metrics.get("importance", ()), key=lambda row: -row["mean"])

    @property
    def slices(self) -> list[Slice]:
        """By cross-validation, which has the most passengers."""
        return _slices(self.metrics.get("slices", {}).get(CROSS_VALIDATION, ()))

    @property
    def holdout_slices(self) -> list[Slice]:
        """On the hold-out."""
        return _slices(self.metrics.get("slices", {}).get(HOLD_OUT, ()))

    @property
    def worst_slices(self) -> list[Slice]:
        return [row for row in self.slices if row.is_worst]

    @property
    def calibration(self) -> Mapping[str, Any] | None:
        return self.metrics.get("calibration")

    @property
    def threshold(self) -> Mapping[str, Any] | None:
        return self.metrics.get("threshold")

    @property
    def search(self) -> Mapping[str, Any] | None:
        return self.metrics.get("search")

    def curve(self, kind: str, *, on: str) -> Mapping[str, Any] | None:
        """The points of a curve, measured on cross-validation or hold-out."""
        found: Mapping[str, Any] | None = self.metrics.get("curves", {}).get(on, {}).get(kind)
        return found

    def figure(self, name: str) -> Figure | None:
        """One of the figures by its name."""
        return next((figure for figure in self.figures if figure.name == name), None)

    @property
    def _validation(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.metrics.get(CROSS_VALIDATION, {})
        return found


def _figure(metrics: Mapping[str, Any], name: str) -> Figure | None:
    holdout = metrics.get(HOLD_OUT, {})
    label, is_more_better = FIGURES[name]
    validated = Estimate.of(metrics.get(CROSS_VALIDATION, {}).get(name))
    measured = Estimate.of(holdout.get(name), holdout.get("intervals", {}).get(name))
    if validated is None and measured is None:
        return None
    ungrouped = Estimate.of(metrics.get("ungrouped", {}).get(name))
    baseline = Estimate.of(metrics.get("baseline", {}).get(name))
    return Figure(name, label, is_more_better, validated, measured, ungrouped, baseline)


def _slices(rows: Sequence[Mapping[str, Any]]) -> list[Slice]:
    judged = sorted((row for row in rows if row["rows"] >= LEAST_ROWS), key=lambda row: -row["log_loss"])
    worst = {row["slice"] for row in judged[:_WORST]}
    return [
        Slice(
            slice=row["slice"],
            rows=row["rows"],
            share=row["share"],
            predicted=row["predicted"],
            accuracy=Estimate(row["accuracy"], None, row.get("low"), row.get("high")),
            log_loss=row["log_loss"],
            is_worst=row["slice"] in worst,
        )
        for row in rows
    ]


def _share(hits: int, misses: int) -> float | None:
    return hits / (hits + misses) if hits + misses else None
