"""The charts and figures of a performance check."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext as _

from core.charts import Chart, Series
from monitoring.performance_report import PerformanceFigures, PerformanceReport, PredictionChunk
from training.metrics import Estimate
from training.report import FIGURES


@dataclass(frozen=True)
class Figure:
    """One figure as realised, as the training leads to expect, and as estimated without outcomes."""

    label: str | Promise
    realised: Estimate | None
    expected: Estimate | None
    estimated: Estimate | None


def figures(report: PerformanceReport) -> list[Figure]:
    """List the figures in the order in which people read them."""
    realised = report.overall.figures if report.overall else PerformanceFigures()
    expected = report.overall.expected if report.overall else report.expected
    return [
        Figure(label, *(getattr(source, name) for source in (realised, expected, report.live.estimated)))
        for name, (label, _is_more_better) in FIGURES.items()
        if name in PerformanceFigures.__struct_fields__
    ]


def accuracy(report: PerformanceReport) -> list[Chart]:
    """Draw the accuracy over time, estimated and realised, of live predictions and of files, where there are any."""
    windows = (
        ("live", _("Accuracy of live predictions"), report.live),
        ("files", _("Accuracy of scoring files"), report.files),
    )
    return [
        _over_time(name, title, window.chunks, expected=report.expected.accuracy)
        for name, title, window in windows
        if window.chunks
    ]


def _over_time(name: str, title: str, chunks: Sequence[PredictionChunk], *, expected: Estimate | None) -> Chart:
    lines = {
        _("Estimated"): [(chunk, chunk.estimated.accuracy) for chunk in chunks],
        _("Realised"): [(chunk, chunk.realised.accuracy) for chunk in chunks],
    }
    series = []
    for label, points in lines.items():
        known = [(chunk, figure) for chunk, figure in points if figure is not None]
        series.append(
            Series(
                label,
                x=[chunk.middle for chunk, _figure in known],
                y=[figure.value for _chunk, figure in known],
                low=[figure.value if figure.low is None else figure.low for _chunk, figure in known],
                high=[figure.value if figure.high is None else figure.high for _chunk, figure in known],
                is_marked=True,
            )
        )
    if expected is not None:
        ends = [chunks[0].start, chunks[-1].end]
        series.append(Series(_("Expected from training"), ends, [expected.value] * 2, is_guide=True))
    summary = _("%(title)s in %(count)s chunks; the table below has the figures.") % {
        "title": title, "count": len(chunks)
    }  # fmt: skip
    return Chart(name, "times", title, summary, _("Time"), _("Accuracy"), series)
