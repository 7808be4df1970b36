"""The pictures of models."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.charts import Chart, Series
from training.report import CROSS_VALIDATION, HOLD_OUT, Report

#: Curve -> title, and what lies along its axes.
CURVES: Mapping[str, tuple[Any, Any, Any]] = {
    "roc": (gettext_lazy("ROC curve"), gettext_lazy("False alarms"), gettext_lazy("Found")),
    "precision_recall": (gettext_lazy("Precision and recall"), gettext_lazy("Recall"), gettext_lazy("Precision")),
    "calibration": (gettext_lazy("Calibration"), gettext_lazy("Said, mean probability"), gettext_lazy("Happened")),
}
#: Where the diagonal is a guide: chance, or a model that means what it says.
_DIAGONALS = {"roc": gettext_lazy("Chance"), "calibration": gettext_lazy("Perfect")}


def of_version(report: Report) -> list[Chart]:
    """One version's curves, by cross-validation and on the hold-out."""
    measured = {CROSS_VALIDATION: _("Cross-validation"), HOLD_OUT: _("Hold-out")}
    return _curves({label: (report, on) for on, label in measured.items()})


def compared(reports: Mapping[str, Report]) -> list[Chart]:
    """Several versions' curves side by side, by cross-validation."""
    return _curves({label: (report, CROSS_VALIDATION) for label, report in reports.items()})


def importance(report: Report) -> Chart | None:
    """How much worse the model gets when a feature is shuffled."""
    rows = report.importance
    if not rows:
        return None
    telling = ", ".join(row["feature"] for row in rows[:3])
    return Chart(
        name="importance",
        kind="bars",
        title=_("What it relies on"),
        summary=_("Features by importance; the most telling are %(features)s.") % {"features": telling},
        x_label=_("Rise of log loss when the feature is shuffled"),
        y_label=_("Feature"),
        series=[
            Series(
                _("Rise of log loss"),
                x=[row["mean"] for row in rows],
                y=[row["feature"] for row in rows],
                spread=[row["spread"] for row in rows],
            )
        ],
    )


def threshold(report: Report) -> Chart | None:
    """Accuracy by threshold, with the one in use marked."""
    found = report.threshold
    if not found or not found.get("x"):
        return None
    value, reached = found["value"], found["y"]
    return Chart(
        name="threshold",
        kind="lines",
        title=_("Accuracy by threshold"),
        summary=_("Accuracy is highest, %(most).3f, among thresholds from %(first).2f to %(last).2f.")
        % {"most": max(reached), "first": found["x"][0], "last": found["x"][-1]},
        x_label=_("Threshold"),
        y_label=_("Accuracy"),
        series=[
            Series(_("Accuracy"), found["x"], reached),
            Series(_("In use"), [value, value], [min(reached), max(reached)], is_guide=True),
        ],
    )


def _curves(lines: Mapping[str, tuple[Report, str]]) -> list[Chart]:
    drawn = []
    for kind in CURVES:
        found = {label: report.curve(kind, on=on) for label, (report, on) in lines.items()}
        series = [
            Series(label, curve["x"], curve["y"], is_marked=kind == "calibration")
            for label, curve in found.items()
            if curve
        ]
        if series:
            drawn.append(_curve(kind, series))
    return drawn


def _curve(kind: str, series: Sequence[Series]) -> Chart:
    title, x_label, y_label = (str(text) for text in CURVES[kind])
    guides = [Series(str(_DIAGONALS[kind]), [0, 1], [0, 1], is_guide=True)] if kind in _DIAGONALS else []
    of = ", ".join(line.label for line in series)
    return Chart(
        name=kind,
        kind="lines",
        title=title,
        summary=_("%(title)s of %(of)s; the table below has its points.") % {"title": title, "of": of},
        x_label=x_label,
        y_label=y_label,
        series=[*series, *guides],
        is_unit_square=True,
    )
