"""A version's metrics as its page, its card and the comparison show them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from ingestion.schema import VERBOSE_NAMES
from training.metrics import Estimate, Metrics, Slice

#: Figure -> its name, and whether more is better.
FIGURES: Mapping[str, tuple[str | Promise, bool]] = {
    "accuracy": (gettext_lazy("Accuracy"), True),
    "roc_auc": (gettext_lazy("ROC AUC"), True),
    "average_precision": (gettext_lazy("Average precision"), True),
    "log_loss": (gettext_lazy("Log loss"), False),
    "brier": (gettext_lazy("Brier score"), False),
    "ece": (gettext_lazy("Calibration error"), False),
}
#: On fewer rows a slice's figures are chance, and it is not called the worst.
LEAST_ROWS = 20
_WORST = 3


@dataclass(frozen=True)
class Figure:
    """One figure by every way of measuring it."""

    label: str | Promise
    is_more_better: bool
    cross_validation: Estimate
    hold_out: Estimate
    baseline: Estimate | None
    ungrouped: Estimate | None


def figures(metrics: Metrics) -> list[Figure]:
    """List the figures in the order in which people read them."""
    validated, measured = dict(metrics.cross_validation.items()), metrics.hold_out.estimates()
    ungrouped = dict(metrics.ungrouped.items()) if metrics.ungrouped else {}
    baseline = {"accuracy": Estimate(metrics.baseline.accuracy)} if metrics.baseline else {}
    return [
        Figure(label, is_more_better, validated[name], measured[name], baseline.get(name), ungrouped.get(name))
        for name, (label, is_more_better) in FIGURES.items()
    ]


def worst_slices(slices: Sequence[Slice]) -> list[str]:
    """Name the slices with the highest log loss among those with rows enough."""
    judged = sorted((row for row in slices if row.rows >= LEAST_ROWS), key=lambda row: -row.log_loss)
    return [row.slice for row in judged[:_WORST]]


def group_label(metrics: Metrics) -> str:
    """Name the column by which folds were grouped as people call it; empty without one."""
    name = metrics.cross_validation.grouped_by or ""
    return str(VERBOSE_NAMES.get(name, name)).lower()
