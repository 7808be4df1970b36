"""The data contract: validate a value, a row or a table before anything else sees it.

One definition for every channel. `parse` validates one value, `check_row` one row; `ingestion.table_validation` and
`ingestion.json_validation` validate many at once with the results of `check_row`.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.similar_names import similar_name

Kind = Literal["integer", "number", "choice", "text"]
Severity = Literal["error", "warning"]
Value = int | float | str | None
Columns = dict[str, NDArray[Any]]

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
#: The ranges of control characters; other engines' patterns know no surrogates, which UTF-8 cannot write.
CONTROL_RANGES = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f"
_CONTROL = re.compile(rf"[{CONTROL_RANGES}\ud800-\udfff]")
#: Beyond this number JSON's readers disagree on what is meant.
MAX_EXACT = 2**53
# A longer text is no number that a person wrote, and slow to convert.
_MAX_NUMBER_LENGTH = 64


def gettext_noop(message: str) -> str:
    """Mark a message for translation; this module knows no Django."""
    return message


@dataclass(frozen=True)
class InFiles:
    """How files write a field: other headings of its column, spellings of choices, words for unknown, units.

    Case and blanks at the ends do not matter. What is usual everywhere (`NA`, `yes`, `£7.25`) need not be said.
    """

    headings: Sequence[str] = ()
    values: Mapping[str, int | str] = dataclasses.field(default_factory=dict)
    markers: Sequence[str] = ()
    units: Sequence[str] = ()


_AS_DECLARED = InFiles()
# Spellings of a label, or of another choice of 0 and 1.
_YES = "yes y true t ja j wahr sí si verdadero oui vrai"
_NO = "no n false f nein falsch falso non faux"
_YES_NO = dict.fromkeys(_YES.split(), 1) | dict.fromkeys(_NO.split(), 0)


@dataclass(frozen=True)
class Field:
    """Rules for the values of one field. `default` replaces a missing value; None stands for unknown."""

    name: str
    kind: Kind
    is_required: bool
    default: Value = None
    minimum: float | None = None
    maximum: float | None = None
    max_length: int | None = None
    choices: tuple[int | str, ...] = ()
    in_files: InFiles = dataclasses.field(default=_AS_DECLARED, compare=False)

    @cached_property
    def is_integer(self) -> bool:
        """Whether values are whole numbers, choices of them too."""
        return self.kind == "integer" or (bool(self.choices) and not isinstance(self.choices[0], str))

    @cached_property
    def by_spelling(self) -> Mapping[str, int | str]:
        """The choices by what files write for them, in lower case."""
        declared = {spelling.casefold(): value for spelling, value in self.in_files.values.items()}
        own = {str(choice).casefold(): choice for choice in self.choices}
        return (_YES_NO if self.choices == (0, 1) else {}) | declared | own

    @cached_property
    def is_numeric(self) -> bool:
        """Whether values are numbers."""
        return self.is_integer or self.kind == "number"


@dataclass(frozen=True)
class Violation:
    """Why one field is invalid: an untranslated `message` with `params` to fill in."""

    field: str
    code: str
    message: str
    params: Mapping[str, Value] = dataclasses.field(default_factory=dict)


class ContractViolation(ValueError):
    """A value that violates the contract."""

    def __init__(self, field: Field, code: str, message: str, **params: Value) -> None:
        super().__init__(message % params)
        self.violation = Violation(field.name, code, message, params)


@dataclass(frozen=True)
class Rule:
    """A check over several typed fields of one row.

    `reads` maps each field that it reads to None, or to a pattern for the part of a text that matters: of rows with
    equal parts one is checked. An "error" rejects the row, a "warning" is recorded.
    """

    check: Callable[[Mapping[str, Any]], list[Violation]]
    reads: Mapping[str, str | None]
    severity: Severity = "error"


def fields_of(declaration: Any, in_files: Mapping[str, InFiles] | None = None) -> tuple[Field, ...]:
    """Derive the contract's fields from an abstract Django model; raises TypeError for a field it does not support."""
    kinds: dict[str, Kind] = {"FloatField": "number", "CharField": "text"}
    fields = []
    for column in declaration._meta.local_fields:
        django_kind = column.get_internal_type()
        kind: Kind | None = "integer" if django_kind.endswith("IntegerField") else kinds.get(django_kind)
        choices = tuple(value for value, _ in column.choices or ())
        if kind is None or (choices and kind == "number"):
            message = (
                f"The field {column.name!r} of {column.model.__name__} is a {type(column).__name__}"
                f"{' with choices' if choices else ''}; supported are the integer fields and CharField, each with "
                f"choices or without, and FloatField."
            )
            raise TypeError(message)
        limits = {each.code: each.limit_value for each in column.validators if hasattr(each, "limit_value")}
        field = Field(
            name=column.name,
            kind="choice" if choices else kind,
            is_required=not column.null and not column.has_default(),
            default=column.get_default() if column.has_default() else None,
            minimum=limits.get("min_value"),
            maximum=limits.get("max_value"),
            max_length=column.max_length if kind == "text" and not choices else None,
            choices=choices,
            in_files=(in_files or {}).get(column.name, _AS_DECLARED),
        )
        fields.append(field)
    return tuple(fields)


def joint_violation(fields: Iterable[str], code: str, message: str, **params: Value) -> list[Violation]:
    """Make the same violation for each of several fields that are invalid only together."""
    return [Violation(name, code, message, params) for name in fields]


def unknown_field(name: str, known: Iterable[str]) -> Violation:
    """Make the violation of a field that there is not, with the name that may have been meant.

    >>> unknown_field("Length", ["length"]).params, unknown_field("width", ["length"]).params
    ({'name': 'length'}, {})
    """
    meant = similar_name(name, known)
    if meant is None:
        return Violation(name, "unknown_field", gettext_noop("There is no such field."))
    message = gettext_noop("There is no such field. Did you mean “%(name)s”?")
    return Violation(name, "unknown_field", message, {"name": meant})


def parse(field: Field, raw: object, *, is_text: bool) -> Value:
    """Parse one value; raises `ContractViolation`. Blank text means unknown; `is_text` reads numbers out of text.

    >>> length = Field("length", "number", is_required=False, minimum=0, maximum=120)
    >>> parse(length, " 22 ", is_text=True), parse(length, "", is_text=False)
    (22.0, None)
    >>> parse(length, "200", is_text=True)
    Traceback (most recent call last):
    ingestion.contract.ContractViolation: Must be from 0 to 120.
    """
    value = raw.strip() if isinstance(raw, str) else raw
    if value is None or value == "":
        if field.is_required:
            raise ContractViolation(field, "required", gettext_noop("This field is required."))
        return field.default
    if field.kind == "text":
        return _text(field, value)
    is_word = is_text and isinstance(value, str) and not _NUMBER.fullmatch(value)
    # Of a word that is no number the choices say more.
    if field.kind == "choice" and (is_word or isinstance(field.choices[0], str)):
        return _choice(field, value)
    number = _number(field, value, is_text=is_text)
    if field.kind == "number":
        return _in_range(field, number)
    if number != int(number):
        raise ContractViolation(field, "not_an_integer", gettext_noop("Must be a whole number."))
    return _choice(field, int(number)) if field.choices else int(_in_range(field, number))


def _text(field: Field, value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_EXACT:
        # As a table has it: a ticket is often a number.
        value = str(value)
    if not isinstance(value, str):
        raise ContractViolation(field, "not_text", gettext_noop("Must be text."))
    if field.max_length is not None and len(value) > field.max_length:
        message = gettext_noop("Must be at most %(most)s characters long.")
        raise ContractViolation(field, "too_long", message, most=field.max_length)
    if _CONTROL.search(value):
        raise ContractViolation(field, "control_character", gettext_noop("Must not contain control characters."))
    return value


def _number(field: Field, value: object, *, is_text: bool) -> float:
    if isinstance(value, str) and is_text and len(value) <= _MAX_NUMBER_LENGTH and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ContractViolation(field, "not_a_number", gettext_noop("Must be a number."))
    if (isinstance(value, int) and abs(value) > MAX_EXACT) or not math.isfinite(value):
        raise ContractViolation(field, "out_of_range", gettext_noop("Must be a finite number of ordinary size."))
    return float(value)


def _in_range(field: Field, number: float) -> float:
    low, high = field.minimum, field.maximum
    if (low is not None and number < low) or (high is not None and number > high):
        message = gettext_noop("Must be from %(low)s to %(high)s.")
        raise ContractViolation(field, "out_of_range", message, low=low, high=high)
    # -0.0 becomes 0.0, so that both are one row.
    return number + 0.0


def _choice(field: Field, value: object) -> Value:
    if value not in field.choices or isinstance(value, bool):
        options = ", ".join(str(choice) for choice in field.choices)
        raise ContractViolation(field, "not_a_choice", gettext_noop("Must be one of %(options)s."), options=options)
    return field.choices[field.choices.index(value)]


def check_row(
    fields: Sequence[Field], row: Mapping[str, object], *, rules: Sequence[Rule], is_text: bool = False
) -> tuple[dict[str, Value], list[Violation]]:
    """Validate one row: return the typed values and no violations, or the violations of every field that has one."""
    values: dict[str, Value] = {}
    violations: list[Violation] = []
    for field in fields:
        try:
            values[field.name] = parse(field, row.get(field.name), is_text=is_text)
        except ContractViolation as error:
            violations.append(error.violation)
    names = [field.name for field in fields]
    violations += [unknown_field(name, names) for name in sorted(map(str, row.keys() - set(names)))]
    return values, violations or rule_violations(rules, values, severity="error")


def rule_violations(rules: Iterable[Rule], values: Mapping[str, Value], *, severity: Severity) -> list[Violation]:
    """Return the violations of the first rule of that severity that the row's typed values break."""
    checks = (rule.check(values) for rule in rules if rule.severity == severity)
    return next((violations for violations in checks if violations), [])


def to_columns(fields: Sequence[Field], values: Mapping[str, Sequence[Value]]) -> Columns:
    """Convert values to arrays of shape (n,): float64 with NaN for unknown, or objects with None."""
    columns: Columns = {}
    for is_numeric, dtype in ((True, np.float64), (False, object)):
        names = [field.name for field in fields if field.is_numeric is is_numeric]
        # One array for all fields of a dtype: for one row, making an array costs more than filling it.
        columns.update(zip(names, np.array([values[name] for name in names], dtype=dtype), strict=True))
    return columns
