"""The data contract: validate a row before anything else sees it, whichever channel it comes through.

A `Contract` is a pydantic validator made from the declaration; `ingestion.table_validation` accepts plain columns of a
table with equal results, and hands it every other row.
"""

import dataclasses
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic_core import CoreSchema, SchemaValidator, ValidationError, core_schema

from core.similar_names import similar_name

Kind = Literal["integer", "number", "choice", "text"]
Severity = Literal["error", "warning"]
Value = int | float | str | None
Columns = dict[str, NDArray[Any]]
#: A row's values in the order of the fields.
Row = tuple[Value, ...]

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
#: The ranges of control characters.
CONTROL_RANGES = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f"
#: From this number on JSON's readers disagree on what is meant.
MAX_EXACT = 2**53
# A longer text is no number that a person wrote, and slow to convert.
_MAX_NUMBER_LENGTH = 64
#: Texts that stand for “unknown”, beside a blank one; case does not matter. Spreadsheets, R, pandas, SQL.
MARKERS = frozenset({
    "na", "n/a", "n.a.", "#n/a", "#n/a n/a", "#na", "<na>", "nan", "-nan", "#null!", "null", "(null)", "none", "nil",
    "nat", "-", "--", "---", "–", "—", "?", "??", ".", "..", "\\n", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan",
    "unknown", "missing", "not available", "#value!", "#ref!", "#div/0!",
})  # fmt: skip


def gettext_noop(message: str) -> str:
    """Mark a message for translation; this module knows no Django."""
    return message


@dataclass(frozen=True)
class InFiles:
    """How a field is written: other headings of its column, other spellings of choices, markers of unknown, units.

    Case and blanks at the ends do not matter. What is usual everywhere (`NA`, `yes`, `£7.25`) need not be said.
    Headings and units are those of files; spellings and markers hold in every channel.
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
        return (_YES_NO if set(self.choices) == {0, 1} else {}) | declared | own

    @cached_property
    def is_numeric(self) -> bool:
        """Whether values are numbers."""
        return self.is_integer or self.kind == "number"

    @cached_property
    def own_markers(self) -> frozenset[str]:
        """The markers of unknown that only this field has, in lower case."""
        return frozenset(map(str.casefold, self.in_files.markers))

    def meaning(self, text: str, *, markers: Container[str] = MARKERS) -> Value:
        """Return what a text means: the choice that it spells, None for unknown, or itself without blanks at the ends.

        >>> port = Field("port", "choice", is_required=False, choices=("C", "S"))
        >>> port.meaning(" s "), port.meaning("N/A"), port.meaning(""), port.meaning("Xanten ")
        ('S', None, None, 'Xanten')
        """
        text = text.strip()
        key = text.casefold()
        if key in self.by_spelling:
            return self.by_spelling[key]
        return None if not key or key in markers or key in self.own_markers else text


@dataclass(frozen=True)
class Violation:
    """Why one field is invalid: an untranslated `message` with `params` to fill in."""

    field: str
    code: str
    message: str
    params: Mapping[str, Value] = dataclasses.field(default_factory=dict)


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


# What pydantic calls an error: our code and message.
_REASONS = {
    "missing": ("required", gettext_noop("This field is required.")),
    "string_type": ("not_text", gettext_noop("Must be text.")),
    "string_too_long": ("too_long", gettext_noop("Must be at most %(most)s characters long.")),
    "string_pattern_mismatch": ("control_character", gettext_noop("Must not contain control characters.")),
    "string_unicode": ("control_character", gettext_noop("Must not contain control characters.")),
    "literal_error": ("not_a_choice", gettext_noop("Must be one of %(options)s.")),
    "float_type": ("not_a_number", gettext_noop("Must be a number.")),
    "int_from_float": ("not_an_integer", gettext_noop("Must be a whole number.")),
    "finite_number": ("out_of_range", gettext_noop("Must be a finite number of ordinary size.")),
    "greater_than": ("out_of_range", gettext_noop("Must be a finite number of ordinary size.")),
    "less_than": ("out_of_range", gettext_noop("Must be a finite number of ordinary size.")),
    "greater_than_equal": ("out_of_range", gettext_noop("Must be from %(low)s to %(high)s.")),
    "less_than_equal": ("out_of_range", gettext_noop("Must be from %(low)s to %(high)s.")),
}


#: The typed values of a row by field.
Values = dict[str, Value]
#: A row's values, and what is wrong with it.
Checked = tuple[Values, list[Violation]]
#: The values of rows, and what is wrong by the index of a row.
CheckedRows = tuple[list[Values], dict[int, list[Violation]]]


class Contract:
    """What rows of some fields have to keep, in every channel: each field's declaration, then the rules."""

    def __init__(
        self, fields: Sequence[Field], *, rules: Iterable[Rule] = (), markers: frozenset[str] = MARKERS
    ) -> None:
        self._fields = {field.name: field for field in fields}
        self._rules = [rule for rule in rules if rule.severity == "error"]
        self._markers = markers
        self._texts = {
            field.name: markers.union(field.own_markers, field.by_spelling) for field in fields if field.kind == "text"
        }
        declared = {
            field.name: core_schema.typed_dict_field(_schema(field), required=field.is_required) for field in fields
        }
        row = core_schema.typed_dict_schema(declared, extra_behavior="forbid")
        self._validate_row = SchemaValidator(row).validate_python
        self._validate_rows = SchemaValidator(core_schema.list_schema(row, fail_fast=True)).validate_python

    def check(self, row: Mapping[str, object], *, is_text: bool = False) -> Checked:
        """Validate a row: return the typed values in the order of the fields, and the violations.

        Blank texts, markers and null mean unknown; `is_text` reads numbers out of text. Where a field is invalid, the
        values are those of the other fields.

        >>> contract = Contract([Field("length", "number", is_required=False, minimum=0, maximum=120)])
        >>> contract.check({"length": " 22 "}, is_text=True), contract.check({"length": "NA"})
        (({'length': 22.0}, []), ({'length': None}, []))
        >>> [violation.code for violation in contract.check({"length": "200"}, is_text=True)[1]]
        ['out_of_range']
        """
        accepted = None if is_text else self._accept([row])
        if accepted is not None:
            return accepted[0], []
        meanings = {
            name: meaning
            for name, field in self._fields.items()
            if (meaning := self._meaning(field, row.get(name), is_text=is_text)) is not None
        }
        violations = []
        try:
            values: Values = self._validate_row(meanings)
        except ValidationError as error:
            violations = self._violations(error)
            known = self._fields.keys() - {violation.field for violation in violations}
            values = {
                name: cast("Value", meanings.get(name, field.default))
                for name, field in self._fields.items()
                if name in known
            }
        violations += [unknown_field(name, self._fields) for name in sorted(row.keys() - self._fields.keys())]
        return values, violations or rule_violations(self._rules, values, severity="error")

    def check_all(self, rows: Sequence[Mapping[str, object]], *, is_text: bool = False) -> CheckedRows:
        """Validate rows as `check` does, at once where nothing is wrong."""
        accepted = None if is_text else self._accept(rows)
        return check_each(rows, partial(self.check, is_text=is_text)) if accepted is None else (accepted, {})

    def _accept(self, rows: Sequence[Mapping[str, object]]) -> list[Values] | None:
        """Return the typed values of rows that are valid as they stand; None where one is not."""
        try:
            accepted: list[Values] = self._validate_rows(rows)
        except ValidationError:
            return None
        # Of a text that may be any, a marker is as valid: it has to be looked for.
        for name, words in self._texts.items():
            if not words.isdisjoint([str(values[name]).casefold() for values in accepted if values[name]]):
                return None
        return None if any(rule.check(values) for rule in self._rules for values in accepted) else accepted

    def _meaning(self, field: Field, value: object, *, is_text: bool) -> object:
        """Return what a value means, None for unknown."""
        if isinstance(value, str):
            meaning = field.meaning(value, markers=self._markers)
            if is_text and field.is_numeric and isinstance(meaning, str) and len(meaning) <= _MAX_NUMBER_LENGTH:
                return float(meaning) if _NUMBER.fullmatch(meaning) else meaning
            return meaning
        if field.kind != "text" or isinstance(value, bool) or not isinstance(value, int | float):
            return value
        # As a table has it: a ticket is often a number.
        return str(value) if abs(value) <= MAX_EXACT else value

    def _violations(self, error: ValidationError) -> list[Violation]:
        """Translate pydantic's errors."""
        violations = []
        for each in error.errors(include_url=False, include_context=False, include_input=False):
            field, reason = self._fields[str(each["loc"][0])], each["type"]
            code, message = _REASONS["literal_error" if field.choices and reason != "missing" else reason]
            params = {
                "most": field.max_length, "low": field.minimum, "high": field.maximum,
                "options": ", ".join(map(str, field.choices)),
            }  # fmt: skip
            params = {name: value for name, value in params.items() if f"%({name})s" in message}
            violations.append(Violation(field.name, code, message, params))
        return violations


def check_each(rows: Iterable[Mapping[str, object]], check: Callable[[Mapping[str, object]], Checked]) -> CheckedRows:
    """Check rows one by one."""
    checked = [check(row) for row in rows]
    wrong = {index: violations for index, (_values, violations) in enumerate(checked) if violations}
    return [values for values, _violations in checked], wrong


def _schema(field: Field) -> CoreSchema:
    """Write a field's declaration as pydantic does; a number is read as a float, so that 2.0 is 2 and true is none."""
    number = core_schema.float_schema(strict=True, allow_inf_nan=False, gt=-MAX_EXACT, lt=MAX_EXACT)
    choice = core_schema.literal_schema(list(field.choices))
    schema: CoreSchema
    if field.kind == "text":
        pattern = rf"^[^{CONTROL_RANGES}]+$"
        schema = core_schema.str_schema(
            strict=True, strip_whitespace=True, max_length=field.max_length, pattern=pattern
        )
    elif field.choices:
        schema = core_schema.chain_schema([number, core_schema.int_schema(), choice]) if field.is_integer else choice
    elif field.is_integer:
        low, high = (None if limit is None else int(limit) for limit in (field.minimum, field.maximum))
        schema = core_schema.chain_schema([number, core_schema.int_schema(ge=low, le=high)])
    else:
        number = core_schema.float_schema(strict=True, allow_inf_nan=False, ge=field.minimum, le=field.maximum)
        # -0.0 becomes 0.0, so that both are one row.
        schema = core_schema.no_info_after_validator_function((0.0).__add__, number)
    if field.is_required:
        return schema
    return core_schema.with_default_schema(
        core_schema.nullable_schema(schema) if field.default is None else schema, default=field.default
    )


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
