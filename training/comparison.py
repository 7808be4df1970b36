"""Versions beside each other: the sorted list, and what sets the chosen ones apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F
from django.http import QueryDict
from django.utils.translation import gettext_lazy

from core.charts import Chart
from core.pagination import SIZE, Page
from training import charts
from training.models import ModelVersion
from training.report import FIGURES, Estimate, Figure, Report

#: More lines than this in one picture cannot be told apart.
MOST_CHOSEN = 6
_LARGEST = 2**31 - 1
#: What the list is sorted by -> where that lies. Figures come from the cross-validation.
SORTS: Mapping[str, str] = {
    "version": "version",
    "stage": "stage",
    **{name: f"metrics__cross_validation__{name}__mean" for name in FIGURES},
    "created": "created_at",
}
_LABELS: Mapping[str, Any] = {
    "version": gettext_lazy("Version"),
    "stage": gettext_lazy("Stage"),
    **{name: label for name, (label, _is_more_better) in FIGURES.items()},
    "created": gettext_lazy("Created (UTC)"),
}
_FIRST = "-version"


@dataclass(frozen=True)
class Column:
    """A column's heading: where a press on it leads, and how the list is sorted by it now."""

    label: Any
    query: str
    aria_sort: str
    is_number: bool


@dataclass(frozen=True)
class Row:
    """A version in the list."""

    model: ModelVersion
    figures: Sequence[Estimate | None]
    is_chosen: bool


@dataclass(frozen=True)
class Fact:
    """One thing of each chosen version, and whether they differ in it."""

    name: Any
    values: Sequence[Any]
    differs: bool


@dataclass(frozen=True)
class Measured:
    """One figure of each chosen version, with the best marked where there is one."""

    label: Any
    cells: Sequence[tuple[Estimate | None, bool]]


@dataclass(frozen=True)
class Comparison:
    """Two versions or more, side by side."""

    versions: Sequence[ModelVersion]
    figures: Sequence[Measured]
    holdout_figures: Sequence[Measured]
    parameters: Sequence[Fact]
    libraries: Sequence[Fact]
    origins: Sequence[Fact]
    charts: Sequence[Chart]


def listing(query: QueryDict) -> Page[Row]:
    """Some versions with their figures, in the order asked for; anything strange in the address is passed over."""
    sort, start, wanted = _sort(query), _start(query), chosen_numbers(query)
    by = F(SORTS[sort.removeprefix("-")])
    order = by.desc(nulls_last=True) if sort.startswith("-") else by.asc(nulls_last=True)
    # Curves and golden rows weigh a hundred times what the list shows.
    models = ModelVersion.objects.only("version", "stage", "created_at")
    models = models.annotate(validation=F("metrics__cross_validation")).order_by(order, "-version")
    found = list(models[start : start + SIZE + 1])
    rows = [_row(model, wanted) for model in found[:SIZE]]
    following = _query(query, start=start + SIZE) if len(found) > SIZE else ""
    return Page(rows, bool(start), _query(query), following)


def columns(query: QueryDict) -> list[Column]:
    """The list's headings; a press on the one it is sorted by turns the order round."""
    sort = _sort(query)
    return [_column(name, sort=sort, query=query) for name in SORTS]


def chosen_numbers(query: QueryDict) -> list[int]:
    """The versions to compare, without doubles, in the order asked for."""
    numbers = [number for text in query.getlist("compare") if (number := _number(text)) is not None]
    return list(dict.fromkeys(numbers))


def chosen(query: QueryDict) -> list[ModelVersion]:
    """Those of the versions to compare that exist, as many as can be told apart."""
    numbers = chosen_numbers(query)[:MOST_CHOSEN]
    if not numbers:
        return []
    models = ModelVersion.objects.with_history().defer("golden_rows")
    found = {model.version: model for model in models.filter(version__in=numbers)}
    return [found[number] for number in numbers if number in found]


def compare(versions: Sequence[ModelVersion]) -> Comparison:
    """Figures, parameters, libraries and data of versions, with what differs marked."""
    reports = {str(model): Report.of(model) for model in versions}
    return Comparison(
        versions=versions,
        figures=_measured(list(reports.values()), on="cross_validation"),
        holdout_figures=_measured(list(reports.values()), on="hold_out"),
        parameters=_facts([{**model.parameters, "threshold": model.threshold} for model in versions]),
        libraries=_facts([model.made_with for model in versions]),
        origins=_facts([_origin(model) for model in versions]),
        charts=charts.compared(reports),
    )


def _origin(model: ModelVersion) -> dict[Any, Any]:
    batch = model.feature_batch
    return {
        gettext_lazy("Dataset"): batch.dataset,
        gettext_lazy("Feature batch"): batch,
        gettext_lazy("Rows"): batch.row_count,
        gettext_lazy("Checksum of the features"): batch.checksum,
        gettext_lazy("Definition of the features"): model.definition_version,
    }


def _facts(each: Sequence[Mapping[Any, Any]]) -> list[Fact]:
    names = dict.fromkeys(name for facts in each for name in facts)
    rows = [(name, [facts.get(name, "–") for facts in each]) for name in names]
    return [Fact(name, values, any(value != values[0] for value in values)) for name, values in rows]


def _measured(reports: Sequence[Report], *, on: str) -> list[Measured]:
    rows = []
    for name, (label, is_more_better) in FIGURES.items():
        found = [_estimate(report.figure(name), on) for report in reports]
        known = [estimate.value for estimate in found if estimate]
        if not known:
            continue
        best = max(known) if is_more_better else min(known)
        is_told_apart = len(set(known)) > 1
        rows.append(Measured(label, [(one, bool(one and is_told_apart and one.value == best)) for one in found]))
    return rows


def _estimate(figure: Figure | None, on: str) -> Estimate | None:
    found: Estimate | None = getattr(figure, on, None)
    return found


def _row(model: ModelVersion, wanted: Sequence[int]) -> Row:
    validation = getattr(model, "validation") or {}  # noqa: B009  an annotation, unknown to the type
    return Row(model, [Estimate.of(validation.get(name)) for name in FIGURES], model.version in wanted)


def _column(name: str, *, sort: str, query: QueryDict) -> Column:
    is_here, is_down = sort.removeprefix("-") == name, sort.startswith("-")
    # The first press brings the best, or the newest, to the top.
    is_small_first = name == "stage" or not FIGURES.get(name, (None, True))[1]
    following = name if (is_here and is_down) or (not is_here and is_small_first) else f"-{name}"
    state = ("descending" if is_down else "ascending") if is_here else "none"
    return Column(_LABELS[name], _query(query, sort=following), state, name in FIGURES)


def _sort(query: QueryDict) -> str:
    asked = query.get("sort", _FIRST)
    return asked if asked.removeprefix("-") in SORTS else _FIRST


def _start(query: QueryDict) -> int:
    return _number(query.get("from", "")) or 0


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < len(str(_LARGEST)) else None


def _query(query: QueryDict, *, sort: str = "", start: int = 0) -> str:
    """An address of the list that keeps what is chosen and how it is sorted."""
    kept = QueryDict(mutable=True)
    kept["sort"] = sort or _sort(query)
    kept.setlist("compare", [str(number) for number in chosen_numbers(query)[:MOST_CHOSEN]])
    if start:
        kept["from"] = str(start)
    return kept.urlencode()
