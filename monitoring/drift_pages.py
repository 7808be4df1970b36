"""What the pages and files of drift checks show: tests as people read them, histograms, the heat map, CSV."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from urllib.parse import urlencode

from django.utils.translation import gettext as _

from core.numbers import number
from features import category_labels
from monitoring.models import DriftCheck, FeatureDrift, Method

#: The checks that the heat map shows.
MOST_COLUMNS = 24
#: From these effects on a cell has the next colour.
_LEVELS = (0.1, 0.2, 0.4)


@dataclass(frozen=True)
class Bar:
    """One bin of a histogram: its name, where it is drawn (per cent of the height), and the counts."""

    name: str
    x: int
    reference_height: float
    window_height: float
    reference: int
    window: int


@dataclass(frozen=True)
class TestView:
    """A test with its histogram, if it has one; `test` is the stored row."""

    test: FeatureDrift
    bars: Sequence[Bar]

    @property
    def feature(self) -> str:
        """The name of what was tested, for people."""
        return feature_label(self.test.name)

    @property
    def kind(self) -> str:
        """The name of the test, for people."""
        labels = {
            "kolmogorov-smirnov": _("Kolmogorov–Smirnov"),
            "chi-square": _("Chi-square"),
            "missing": _("Share of unknown values"),
            "classifier": _("AUC of a classifier"),
            "importance": _("Importance for the classifier"),
        }
        return labels.get(self.test.test, self.test.test)

    @property
    def width(self) -> int:
        """The width of the drawing."""
        return 10 * len(self.bars)

    @property
    def ends(self) -> tuple[str, str] | None:
        """The least and the largest edge of a number's bins."""
        edges = (self.test.distribution or {}).get("edges")
        return (number(edges[0]), number(edges[-1])) if edges else None


@dataclass(frozen=True)
class Cell:
    """One feature in one check: whether it drifted, its largest effect, and the colour for that; empty if untested."""

    drifted: bool
    effect: float | None
    level: int


def feature_label(name: str) -> str:
    """Return the name of what was tested, for people."""
    # Named here again: `drift` and `classifier`, which store them, stay out of the web process.
    labels = {"predicted probability": _("Model’s output"), "all features": _("All features together")}
    return labels.get(name) or str(category_labels.label(name))


def test_views(tests: Iterable[FeatureDrift]) -> list[TestView]:
    """Prepare a check's tests, those that drifted and the strongest first."""
    ordered = sorted(tests, key=lambda test: (not test.drifted, -test.effect))
    return [
        TestView(test, [replace(bar, name=_category(test, bar.name)) for bar in _bars(test.distribution or {})])
        for test in ordered
    ]


def predictions_query(check: DriftCheck) -> str:
    """Return the history's filter for the predictions behind a check."""
    if check.scoring_job_id is not None:
        return urlencode({"scoring_job": check.scoring_job_id})
    query = {
        "model": check.version.version if check.version else None,
        "source": check.channel,
        "since": check.window_from and check.window_from.isoformat(),
        # The end of a filter is not within it.
        "until": check.window_to and check.window_to.replace(microsecond=999_999).isoformat(),
    }
    return urlencode({name: value for name, value in query.items() if value})


def heat_map(checks: Sequence[DriftCheck]) -> dict[str, list[Cell]]:
    """Lay out checks with their tests prefetched as one row of cells for each feature."""
    rows: dict[str, list[Cell]] = {}
    for place, check in enumerate(checks):
        for test in check.features.all():
            row = rows.setdefault(feature_label(test.name), [Cell(False, None, 0)] * len(checks))  # noqa: FBT003
            effect = max(test.effect, row[place].effect or 0.0)
            level = 1 + sum(effect >= limit for limit in _LEVELS)
            row[place] = Cell(test.drifted or row[place].drifted, effect, level)
    return rows


def mapped(checks: Iterable[DriftCheck]) -> list[DriftCheck]:
    """Choose those of the newest checks that the heat map shows: the newest first, which a telephone shows too."""
    shown = [check for check in checks if check.drifted is not None and check.method == Method.UNIVARIATE]
    return shown[:MOST_COLUMNS]


def csv_rows(check: DriftCheck) -> Iterator[Sequence[object]]:
    """Yield a check as a table: a line for each bin of each test, or one for a test without bins."""
    yield (
        "feature", "test", "statistic", "p_value", "threshold", "effect", "drifted", "psi", "wasserstein",
        "bin", "reference", "window",
    )  # fmt: skip
    for test in check.features.all():
        distribution = test.distribution or {}
        figures = (test.name, test.test, test.statistic, test.p_value, test.threshold, test.effect, test.drifted)
        distances = (distribution.get("psi"), distribution.get("wasserstein"))
        bars = list(_bars(distribution))
        for bar in bars:
            yield (*figures, *distances, bar.name, bar.reference, bar.window)
        if not bars:
            yield (*figures, *distances, None, None, None)


def _category(test: FeatureDrift, name: str) -> str:
    if test.test == "missing":
        return _("known") if name == "known" else _("unknown")
    return str(category_labels.value_in_words(test.name, name))


def _bars(distribution: dict[str, list[float]]) -> Iterator[Bar]:
    if not distribution:
        return
    edges = distribution["edges"]
    names = [f"{number(low)} – {number(high)}" for low, high in pairwise(edges)]
    names = names or [str(name) or _("others") for name in distribution["categories"]]
    counts, counts_now = distribution["reference"], distribution["window"]
    total, total_now = max(sum(counts), 1), max(sum(counts_now), 1)
    most = max([*(count / total for count in counts), *(count / total_now for count in counts_now), 1e-9])
    for place, (name, before, now) in enumerate(zip(names, counts, counts_now, strict=True)):
        heights = (round(100 * before / total / most, 1), round(100 * now / total_now / most, 1))
        yield Bar(name, 10 * place, *heights, int(before), int(now))
