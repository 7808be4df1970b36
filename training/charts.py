"""The charts of models."""

from collections.abc import Mapping

from django.utils.translation import gettext as _

from core.charts import Chart, Series
from features import category_labels
from training.metrics import Curves, Importance, Points, Threshold


def curves(lines: Mapping[str, Curves]) -> list[Chart]:
    """Draw ROC, precision-recall and calibration in the unit square, each with one line for every label."""
    kinds = [
        ("roc", _("ROC curve"), _("False positive rate"), _("True positive rate"), _("Chance")),
        ("precision_recall", _("Precision and recall"), _("Recall"), _("Precision"), ""),
        ("calibration", _("Calibration"), _("Predicted, mean probability"), _("Observed rate"), _("Perfect")),
    ]
    charts = []
    for name, title, x_label, y_label, diagonal in kinds:
        points: dict[str, Points] = {label: getattr(line, name) for label, line in lines.items()}
        series = [Series(label, line.x, line.y, is_marked=name == "calibration") for label, line in points.items()]
        if diagonal:
            series.append(Series(diagonal, [0, 1], [0, 1], is_guide=True))
        summary = _("%(title)s of %(of)s; the table below has its points.") % {"title": title, "of": ", ".join(lines)}
        charts.append(Chart(name, "lines", title, summary, x_label, y_label, series, is_unit_square=True))
    return charts


def importance(rows: list[Importance]) -> Chart:
    """Draw how much worse the model gets when a feature is shuffled."""
    return Chart(
        name="importance",
        kind="bars",
        title=_("Feature importance"),
        summary=_("Features by importance; the most important are %(features)s.")
        % {"features": category_labels.labels(row.feature for row in rows[:3])},
        x_label=_("Rise of log loss when the feature is shuffled"),
        y_label=_("Feature"),
        series=[
            Series(
                _("Rise of log loss"),
                x=[row.mean for row in rows],
                y=[str(category_labels.label(row.feature)) for row in rows],
                spread=[row.spread for row in rows],
            )
        ],
    )


def compared_importance(versions: Mapping[str, list[Importance]]) -> Chart:
    """Draw the importance of each feature in several versions, beside each other."""
    features = list(dict.fromkeys(row.feature for rows in versions.values() for row in rows))
    names = [str(category_labels.label(feature)) for feature in features]
    series = []
    for label, rows in versions.items():
        means = {row.feature: row.mean for row in rows}
        series.append(Series(label, x=[means.get(feature, 0.0) for feature in features], y=names))
    summary = _("Features by importance in %(of)s; the table below has the figures.") % {"of": ", ".join(versions)}
    return Chart(
        "importance", "bars", _("Feature importance"), summary, _("Rise of log loss when the feature is shuffled"),
        _("Feature"), series,
    )  # fmt: skip


def threshold(chosen: Threshold) -> Chart:
    """Draw accuracy by threshold, with the one in use marked."""
    return Chart(
        name="threshold",
        kind="lines",
        title=_("Accuracy by threshold"),
        summary=_("Accuracy is highest, %(most).3f, among thresholds from %(first).2f to %(last).2f.")
        % {"most": max(chosen.y), "first": chosen.x[0], "last": chosen.x[-1]},
        x_label=_("Threshold"),
        y_label=_("Accuracy"),
        series=[
            Series(_("Accuracy"), chosen.x, chosen.y),
            Series(_("In use"), [chosen.value] * 2, [min(chosen.y), max(chosen.y)], is_guide=True),
        ],
    )
