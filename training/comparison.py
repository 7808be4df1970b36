"""Versions side by side: the sorted list, and how the chosen ones differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F
from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy
from msgspec import convert

from core.charts import Chart
from core.pagination import SIZE, Page, page_of
from training import charts
from training.metrics import CrossValidation, Estimate
from training.models import ModelVersion
from training.report import FIGURES

#: More lines than this in one picture cannot be told apart.
MAX_COMPARED = 6
#: What the list is sorted by -> its heading, and where it lies. Figures come from the cross-validation.
SORTS: Mapping[str, tuple[str | Promise, str]] = {
    "version": (gettext_lazy("Version"), "version"),
    "stage": (gettext_lazy("Stage"), "stage"),
    **{name: (label, f"metrics__cross_validation__{name}__mean") for name, (label, _) in FIGURES.items()},
    "created": (gettext_lazy("Created (UTC)"), "created_at"),
}
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
    """A version in the list."""

    model: ModelVersion
    figures: Sequence[Estimate]


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
    cells: Sequence[tuple[Estimate, bool]]


@dataclass(frozen=True)
class Comparison:
    """Two versions or more, side by side."""

    versions: Sequence[ModelVersion]
    figures: Sequence[ComparedFigure]
    holdout_figures: Sequence[ComparedFigure]
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
    models = ModelVersion.objects.only("version", "stage", "created_at").order_by(order, "-version")
    models = models.annotate(validation=F("metrics__cross_validation"))
    rows = []
    for model in models[start : start + SIZE + 1]:
        # The annotation is unknown to the type.
        figures = dict(convert(vars(model)["validation"], CrossValidation).items())
        rows.append(Row(model, [figures[name] for name in FIGURES]))
    return page_of(rows, query, key=lambda _row: start + SIZE, parameter="from")


def columns(query: QueryDict) -> list[Column]:
    """List the headings; the one that the list is sorted by reverses the order."""
    sort, headings = _sort(query), []
    for name, (label, _place) in SORTS.items():
        is_sorted, is_descending = sort.removeprefix("-") == name, sort.startswith("-")
        # The first click brings the best, or the newest, to the top.
        is_small_first = name == "stage" or not FIGURES.get(name, (None, True))[1]
        next_sort = name if (is_sorted and is_descending) or (not is_sorted and is_small_first) else f"-{name}"
        state = ("descending" if is_descending else "ascending") if is_sorted else "none"
        headings.append(Column(label, next_sort, state, name in FIGURES))
    return headings


def chosen(query: QueryDict) -> list[ModelVersion]:
    """Load the versions to compare that exist, in the order of the address, at most `MAX_COMPARED`."""
    numbers = [number for text in query.getlist("compare") if (number := _number(text)) is not None]
    distinct = list(dict.fromkeys(numbers))[:MAX_COMPARED]
    by_number = ModelVersion.objects.with_history().defer("golden_rows").in_bulk(distinct, field_name="version")
    return [by_number[number] for number in distinct if number in by_number]


def compare(versions: Sequence[ModelVersion]) -> Comparison:
    """Compare figures, parameters, libraries and data of versions, with what differs marked."""
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
    return Comparison(
        versions=versions,
        figures=_compared_figures([dict(one.cross_validation.items()) for one in metrics.values()]),
        holdout_figures=_compared_figures([one.hold_out.estimates() for one in metrics.values()]),
        parameters=_compared_facts([{**model.parameters, "threshold": model.threshold} for model in versions]),
        libraries=_compared_facts([model.made_with for model in versions]),
        origins=_compared_facts(origins),
        charts=charts.curves({label: one.curves.cross_validation for label, one in metrics.items()}),
    )


def _compared_facts(versions: Sequence[Mapping[Any, object]]) -> list[ComparedFact]:
    names = dict.fromkeys(name for facts in versions for name in facts)
    rows = [(name, [facts.get(name, "–") for facts in versions]) for name in names]
    return [ComparedFact(name, values, any(value != values[0] for value in values)) for name, values in rows]


def _compared_figures(versions: Sequence[Mapping[str, Estimate]]) -> list[ComparedFigure]:
    rows = []
    for name, (label, is_more_better) in FIGURES.items():
        estimates = [figures[name] for figures in versions]
        values = {estimate.value for estimate in estimates}
        best = max(values) if is_more_better else min(values)
        is_different = len(values) > 1
        rows.append(ComparedFigure(label, [(one, is_different and one.value == best) for one in estimates]))
    return rows


def _sort(query: QueryDict) -> str:
    sort = query.get("sort", _DEFAULT_SORT)
    return sort if sort.removeprefix("-") in SORTS else _DEFAULT_SORT


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None
