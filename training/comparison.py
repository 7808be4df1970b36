"""Versions side by side: the sorted list, and how the chosen ones differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db.models import F
from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext as translated
from django.utils.translation import gettext_lazy
from msgspec import convert

from core.charts import Chart
from core.pagination import Page, page_of
from training import charts
from training.apps import LiveAccuracy, TrainingConfig
from training.metrics import CrossValidation, Estimate, Slice
from training.models import LONGEST_TAG, ModelVersion, Stage
from training.report import FIGURES, KEY_FIGURES, KeyFigure, is_better, key_figures

#: More lines than this in one picture cannot be told apart.
MAX_COMPARED = 6
MODELS_PER_PAGE = 25
#: What the list is sorted by -> its heading, and where it lies. Figures come from the cross-validation.
SORTS: Mapping[str, tuple[str | Promise, str]] = {
    "version": (gettext_lazy("Version"), "version"),
    "stage": (gettext_lazy("Stage"), "stage"),
    **{name: (FIGURES[name][0], f"metrics__cross_validation__{name}__mean") for name in KEY_FIGURES},
    "created": (gettext_lazy("Created"), "created_at"),
}
_Row = TypeVar("_Row", "ComparedFact", "ComparedFigure")
_DEFAULT_SORT = "-version"
# So many digits fit into an integer of PostgreSQL.
_MAX_DIGITS = 9


@dataclass(frozen=True)
class Column:
    """A column's heading: the `sort` that a click on it asks for, and how the list is sorted by it now."""

    label: str | Promise
    sort: str
    aria_sort: str
    is_number: bool


@dataclass(frozen=True)
class Row:
    """A version in the list: its figures beside the champion's, whether it passed the gate, its live accuracy."""

    model: ModelVersion
    figures: Sequence[KeyFigure]
    has_passed: bool | None
    live: LiveAccuracy | None


@dataclass(frozen=True)
class ComparedFact:
    """One property of each chosen version, and whether they differ in it."""

    name: str | Promise
    values: Sequence[object]
    differs: bool


@dataclass(frozen=True)
class ComparedFigure:
    """One figure of each chosen version, with the best marked where there is one."""

    label: str | Promise
    cells: Sequence[tuple[Estimate | None, bool]]

    @property
    def differs(self) -> bool:
        """Whether the versions differ in it."""
        return len({cell for cell, _is_best in self.cells}) > 1


@dataclass(frozen=True)
class Comparison:
    """Two versions or more, side by side."""

    versions: Sequence[ModelVersion]
    figures: Sequence[ComparedFigure]
    holdout_figures: Sequence[ComparedFigure]
    slices: Sequence[ComparedFigure]
    parameters: Sequence[ComparedFact]
    libraries: Sequence[ComparedFact]
    origins: Sequence[ComparedFact]
    charts: Sequence[Chart]


def listing(query: QueryDict) -> Page[Row]:
    """List versions with their figures, in the order that the address asks for; unknown parameters are ignored."""
    sort, start = _sort(query), _number(query.get("from", "")) or 0
    _label, place = SORTS[sort.removeprefix("-")]
    order = f"-{place}" if sort.startswith("-") else place
    # Curves and golden rows weigh a hundred times what the list shows.
    models = ModelVersion.objects.only("version", "stage", "created_at", "tags", "notes").order_by(order, "-version")
    models = models.annotate(validation=F("metrics__cross_validation"), has_passed=F("gate__passed"))
    if tag := tag_filter(query):
        models = models.filter(tags__contains=[tag])
    shown = list(models[start : start + MODELS_PER_PAGE + 1])
    champion = ModelVersion.objects.champion_validation() if shown else None
    live = TrainingConfig.live_accuracy([model.version for model in shown]) if shown else {}
    rows = []
    for model in shown:
        # The annotations are unknown to the type.
        validation = convert(vars(model)["validation"], CrossValidation)
        rival = None if model.stage == Stage.CHAMPION else champion
        figures = key_figures(validation, rival)
        rows.append(Row(model, figures, vars(model)["has_passed"], live.get(model.version)))
    return page_of(rows, query, key=lambda _row: start + MODELS_PER_PAGE, parameter="from", size=MODELS_PER_PAGE)


def tag_filter(query: QueryDict) -> str:
    """Return the tag that the list is filtered by; empty for none."""
    # Postgres takes no NUL in a text.
    return query.get("tag", "").replace("\0", "")[:LONGEST_TAG]


def columns(query: QueryDict) -> list[Column]:
    """List the headings; the one that the list is sorted by reverses the order."""
    sort, headings = _sort(query), []
    for name, (label, _place) in SORTS.items():
        is_sorted, is_descending = sort.removeprefix("-") == name, sort.startswith("-")
        # The first click brings the best, or the newest, to the top.
        is_small_first = name == "stage" or not FIGURES.get(name, (None, True))[1]
        next_sort = name if (is_sorted and is_descending) or (not is_sorted and is_small_first) else f"-{name}"
        state = ("descending" if is_descending else "ascending") if is_sorted else "none"
        headings.append(Column(label, next_sort, state, name in KEY_FIGURES))
    return headings


def chosen(query: QueryDict) -> list[ModelVersion]:
    """Load the versions to compare that exist, in the order of the address, at most `MAX_COMPARED`."""
    numbers = [number for text in query.getlist("compare") if (number := _number(text)) is not None]
    distinct = list(dict.fromkeys(numbers))[:MAX_COMPARED]
    by_number = ModelVersion.objects.with_history().defer("golden_rows").in_bulk(distinct, field_name="version")
    return [by_number[number] for number in distinct if number in by_number]


def compare(versions: Sequence[ModelVersion], *, differences_only: bool = False) -> Comparison:
    """Compare figures, slices, parameters, libraries and data of versions, with what differs marked."""
    metrics = {str(model): model.evaluation for model in versions}
    origins: list[dict[str | Promise, object]] = [
        {
            gettext_lazy("Dataset"): model.feature_batch.dataset,
            gettext_lazy("Feature batch"): model.feature_batch,
            gettext_lazy("Rows"): model.feature_batch.row_count,
            gettext_lazy("Checksum of the features"): model.feature_batch.checksum,
            gettext_lazy("Definition of the features"): model.definition_version,
        }
        for model in versions
    ]
    parameters: list[dict[str | Promise, object]] = [
        {**model.parameters, "threshold": model.threshold} for model in versions
    ]
    validated = [dict(one.cross_validation.items()) for one in metrics.values()]
    measured = [one.hold_out.estimates() for one in metrics.values()]

    def shown(rows: list[_Row]) -> list[_Row]:
        return [row for row in rows if row.differs or not differences_only]

    return Comparison(
        versions=versions,
        figures=shown(_compared_figures(validated)),
        holdout_figures=shown(_compared_figures(measured)),
        slices=shown(_compared_slices([one.slices.cross_validation for one in metrics.values()])),
        parameters=shown(_compared_facts(parameters)),
        libraries=shown(_compared_facts([model.made_with for model in versions])),
        origins=shown(_compared_facts(origins)),
        charts=[
            *charts.curves({label: one.curves.cross_validation for label, one in metrics.items()}),
            charts.compared_importance({label: one.importance for label, one in metrics.items()}),
        ],
    )


def _compared_facts(versions: Sequence[Mapping[Any, object]]) -> list[ComparedFact]:
    names = dict.fromkeys(name for facts in versions for name in facts)
    rows = [(name, [facts.get(name, "–") for facts in versions]) for name in names]
    return [ComparedFact(name, values, any(value != values[0] for value in values)) for name, values in rows]


def _compared_figures(versions: Sequence[Mapping[str, Estimate]]) -> list[ComparedFigure]:
    return [
        _compared_figure(label, [figures[name] for figures in versions], is_more_better=is_more_better)
        for name, (label, is_more_better) in FIGURES.items()
    ]


def _compared_slices(versions: Sequence[Sequence[Slice]]) -> list[ComparedFigure]:
    """Compare the accuracy in each slice of any version."""
    measured = [{row.slice: Estimate(row.accuracy, None, row.low, row.high) for row in slices} for slices in versions]
    names = dict.fromkeys(row.slice for slices in versions for row in slices)
    return [
        _compared_figure(translated(name), [figures.get(name) for figures in measured], is_more_better=True)
        for name in names
    ]


def _compared_figure(
    label: str | Promise, estimates: Sequence[Estimate | None], *, is_more_better: bool
) -> ComparedFigure:
    def is_best(one: Estimate | None) -> bool:
        others = [other for other in estimates if other is not None and other is not one]
        return (
            one is not None
            and bool(others)
            and all(is_better(one, other, is_more_better=is_more_better) for other in others)
        )

    return ComparedFigure(label, [(one, is_best(one)) for one in estimates])


def _sort(query: QueryDict) -> str:
    sort = query.get("sort", _DEFAULT_SORT)
    return sort if sort.removeprefix("-") in SORTS else _DEFAULT_SORT


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None
