"""What if: a logged row with other values, scored with the version that answered, and a curve for each input."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from features.definition import INPUTS, derive
from ingestion import schema
from ingestion.contract import Contract, Field, Value, Violation, rule_violations
from ingestion.passenger import IMMUTABLE, RULES
from ingestion.schema import FIELDS, VERBOSE_NAMES, as_row
from ingestion.validation_messages import by_field
from predictions import explanation
from predictions.models import Prediction

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

#: A curve of a number has at most so many points.
MOST_POINTS = 41
#: The parameter that lists the fields that are to be unknown.
UNKNOWN = "unknown"
_FIELDS = {field.name: field for field in FIELDS}
_CONTRACTS = {field.name: Contract([field]) for field in FIELDS}
Row = dict[str, Value]


class Point(NamedTuple):
    """A value of an input, in words too, where it lies between the least and the most (0 to 1), and its answer."""

    value: Value
    word: object
    place: float
    #: None where a rule forbids the row.
    probability: float | None
    is_current: bool


class Control(NamedTuple):
    """One input: what it is called, its value now, what can be chosen, and its curve over the other values as set."""

    name: str
    label: "StrOrPromise"
    value: Value
    word: object
    is_number: bool
    is_integer: bool
    is_fixed: bool
    may_be_unknown: bool
    points: list[Point]

    @property
    def low(self) -> Value:
        return self.points[0].value

    @property
    def high(self) -> Value:
        return self.points[-1].value

    @property
    def line(self) -> str:
        """The curve as an SVG polyline in a box of 100 by 40."""
        known = [point for point in self.points if point.probability is not None]
        return " ".join(f"{100 * point.place:.1f},{40 - 40 * (point.probability or 0):.1f}" for point in known)


class WhatIf(NamedTuple):
    """The row as set: its answer, None where a rule forbids it, what is wrong by field, and every input."""

    probability: float | None
    errors: dict[str, list[tuple[str, str]]]
    controls: list[Control]


def ask(prediction: Prediction, posted: Mapping[str, str], *, unknown: list[str]) -> WhatIf:
    """Score a logged row with the values that are posted; raises Conflict when its version cannot be used."""
    explainer = explanation.load_explainer(prediction.model_version)
    original = as_row(prediction)
    row, violations = _changed(original, posted, unknown)
    choices = {name: _choices(explainer, name, explanation.input_value(name, row)) for name in INPUTS}
    rows = [row] + [_with(row, name, value) for name, values in choices.items() for value in values]
    probabilities = iter(explainer.artifact.score(derive(schema.to_columns(rows))).tolist())
    is_allowed = iter([not rule_violations(RULES, each, severity="error") for each in rows])
    violations = violations or rule_violations(RULES, row, severity="error")
    answer, _allowed = next(probabilities), next(is_allowed)
    controls = []
    for name, values in choices.items():
        current, field = explanation.input_value(name, row), _FIELDS[name]
        span = (float(values[-1]) - float(values[0])) or 1.0 if _is_number(field) else 1.0  # type: ignore[arg-type]
        points = [
            Point(
                value,
                schema.in_words(name, value),
                (float(value) - float(values[0])) / span if _is_number(field) else 0.0,  # type: ignore[arg-type]
                probability if allowed else None,
                value == current,
            )
            for value, probability, allowed in zip(values, probabilities, is_allowed, strict=False)
        ]
        control = Control(
            name=name,
            label=VERBOSE_NAMES[name],
            value=current,
            word=schema.in_words(name, current),
            is_number=_is_number(field),
            is_integer=field.is_integer,
            is_fixed=name in IMMUTABLE,
            may_be_unknown=not field.is_required and field.default is None,
            points=points,
        )
        controls.append(control)
    return WhatIf(None if violations else answer, by_field(violations), controls)


def _changed(original: Row, posted: Mapping[str, str], unknown: list[str]) -> tuple[Row, list[Violation]]:
    """Return the row with the posted values; one that is invalid is left as it was, and is a violation."""
    row = dict(original)
    violations: list[Violation] = []
    for name in INPUTS:
        if name in unknown or name in posted:
            text = None if name in unknown else posted[name]
            values, wrong = _CONTRACTS[name].check({name: text}, is_text=True)
            violations += wrong
            row = row if wrong else _with(row, name, values[name])
    return row, violations


def _with(row: Row, name: str, value: Value) -> Row:
    """Return the row with another value of an input, whose other fields become unknown: they may contradict it."""
    if value == explanation.input_value(name, row):
        return row
    return {**row, **dict.fromkeys(INPUTS[name]), name: value}


def _choices(explainer: explanation.Explainer, name: str, current: Value) -> list[Value]:
    """List the values of an input's curve: its choices, or numbers between the least and the most of the background."""
    field, values = _FIELDS[name], explainer.values_to_try(name)
    if not _is_number(field):
        return values if current in values else [current, *values]
    index = schema.FIELD_NAMES.index(name)
    known = [row[index] for row in explainer.background if row[index] is not None]
    ends = [float(value) for value in (*known, current) if value is not None]
    ends = ends or [field.minimum or 0, field.maximum or 1]
    numbers = np.linspace(min(ends), max(ends), MOST_POINTS)
    if field.is_integer:
        return sorted({round(number) for number in numbers.tolist()})
    exact = [] if current is None else [current]
    return sorted({*numbers.round(3).tolist(), *exact})


def _is_number(field: Field) -> bool:
    return field.is_numeric and not field.choices
