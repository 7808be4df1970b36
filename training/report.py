"""A version's metrics as its page, its card and the comparison show them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from ingestion.schema import VERBOSE_NAMES
from training.metrics import CrossValidation, Estimate, Metrics, Slice
from training.models import ChampionValidation

#: Figure -> its name, and whether more is better.
FIGURES: Mapping[str, tuple[str | Promise, bool]] = {
    "accuracy": (gettext_lazy("Accuracy"), True),
    "roc_auc": (gettext_lazy("ROC AUC"), True),
    "average_precision": (gettext_lazy("Average precision"), True),
    "log_loss": (gettext_lazy("Log loss"), False),
    "brier": (gettext_lazy("Brier score"), False),
    "ece": (gettext_lazy("Calibration error"), False),
}
#: What a page and the list show first.
KEY_FIGURES = ("accuracy", "roc_auc", "log_loss", "ece")
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


@dataclass(frozen=True)
class KeyFigure:
    """A figure beside the champion's: their difference, and whether that is more than chance."""

    label: str | Promise
    estimate: Estimate
    difference: float | None = None
    is_better: bool = False
    is_worse: bool = False


def key_figures(validated: CrossValidation, champion: ChampionValidation | None) -> list[KeyFigure]:
    """List the main figures, each beside the champion's where there is another one."""
    ours, theirs = dict(validated.items()), dict(champion.figures.items()) if champion else {}
    return [_key_figure(name, ours[name], theirs.get(name)) for name in KEY_FIGURES]


def figures(metrics: Metrics) -> list[Figure]:
    """List the figures in the order in which people read them."""
    validated, measured = dict(metrics.cross_validation.items()), metrics.hold_out.estimates()
    ungrouped = dict(metrics.ungrouped.items()) if metrics.ungrouped else {}
    baseline = {"accuracy": Estimate(metrics.baseline.accuracy)} if metrics.baseline else {}
    return [
        Figure(label, is_more_better, validated[name], measured[name], baseline.get(name), ungrouped.get(name))
        for name, (label, is_more_better) in FIGURES.items()
    ]


def is_better(one: Estimate, other: Estimate, *, is_more_better: bool) -> bool:
    """Tell whether a figure is better than another by more than chance: each lies outside the other's interval.

    >>> is_better(Estimate(0.813, 0.003, 0.79, 0.83), Estimate(0.812, 0.003, 0.79, 0.83), is_more_better=True)
    False
    """
    upper, lower = (one, other) if is_more_better else (other, one)
    if upper.low is None or lower.high is None:
        return upper.value > lower.value
    return upper.low > lower.value and upper.value > lower.high


def worst_slices(slices: Sequence[Slice]) -> list[str]:
    """Name the slices with the highest log loss among those with rows enough."""
    judged = sorted((row for row in slices if row.rows >= LEAST_ROWS), key=lambda row: -row.log_loss)
    return [row.slice for row in judged[:_WORST]]


def group_label(metrics: Metrics) -> str:
    """Name the column by which folds were grouped as people call it; empty without one."""
    name = metrics.cross_validation.grouped_by or ""
    return str(VERBOSE_NAMES.get(name, name)).lower()


def _key_figure(name: str, ours: Estimate, theirs: Estimate | None) -> KeyFigure:
    label, is_more_better = FIGURES[name]
    if theirs is None:
        return KeyFigure(label, ours)
    return KeyFigure(
        label,
        ours,
        ours.value - theirs.value,
        is_better(ours, theirs, is_more_better=is_more_better),
        is_better(theirs, ours, is_more_better=is_more_better),
    )
