"""The contract over a table: what is certainly good is taken column by column, all else row by row by the contract.

The sieve only knows values in their plainest form ("22", not "+2.2e1"). It passes a row only when `check_row` would
pass it with the same values, and hands every other row to `check_row`: one contract, a million rows in seconds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingestion.contract import CONTROL, Columns, Field, Rule, Severity, Violation, check_row

#: The frame's column that says which row of the chunk a good row was.
ROW = "row"
_PLAIN_INTEGER = r"^[0-9]{1,9}$"
_PLAIN_NUMBER = r"^[0-9]{1,9}(\.[0-9]{1,9})?$"
# Surrogates cannot be written in UTF-8, and the engine's patterns do not know them.
_CONTROL = CONTROL.pattern.replace(r"\ud800-\udfff", "")


class Problem(NamedTuple):
    """A violation, or a warning, with the row (0 is the chunk's first) and the value that caused it."""

    row: int
    value: Any
    violation: Violation
    severity: Severity = "error"


@dataclass(frozen=True)
class CheckedChunk:
    """A chunk after the contract: the good rows, typed, in order, and what is to be said of the others."""

    fields: Sequence[Field]
    frame: pl.DataFrame
    problems: list[Problem]

    @property
    def errors(self) -> list[Problem]:
        """What refused a row."""
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def rows(self) -> NDArray[np.int64]:
        """Where in the chunk the good rows were."""
        return self.frame[ROW].to_numpy()

    @cached_property
    def columns(self) -> Columns:
        """The good rows as the arrays that features are derived from; NaN or None for unknown."""
        return {
            field.name: self.frame[field.name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
            if field.is_numeric
            else np.array(self.frame[field.name].to_list(), dtype=object)
            for field in self.fields
        }


def check_columns(
    fields: Sequence[Field], cells: pl.DataFrame, *, rules: Sequence[Rule], refuses_warnings: bool = False
) -> CheckedChunk:
    """Judge a chunk of text cells; a column that is absent is unknown throughout."""
    cells = cells.with_columns(pl.lit("").alias(field.name) for field in fields if field.name not in cells.columns)
    stripped = cells.select(pl.col(field.name).str.strip_chars() for field in fields)
    is_plain = stripped.select(pl.all_horizontal(_is_plain(field) for field in fields)).to_series()
    certain = stripped.with_row_index(ROW).filter(is_plain).select(pl.col(ROW).cast(pl.Int64), *map(_typed, fields))
    suspects, problems = _one_by_one(fields, cells.with_row_index(ROW).filter(~is_plain))
    frame = (pl.concat([certain, suspects]) if suspects.height else certain).sort(ROW)
    parts = frame.select(ROW, *_parts(rules))
    for rule in rules:
        found = _broken(frame, parts, rule)
        severity = "error" if refuses_warnings else rule.severity
        problems += [Problem(row, value, violation, severity) for row, value, violation in found]
        if severity == "error" and found:
            frame = frame.filter(~pl.col(ROW).is_in({row for row, _value, _refusal in found}))
    return CheckedChunk(fields, frame, sorted(problems, key=lambda problem: problem.row))


def _is_plain(field: Field) -> pl.Expr:
    """Whether a cell is certainly good as it stands."""
    cell = pl.col(field.name)
    if field.is_integer:
        number = cell.cast(pl.Int64, strict=False)
        fits = number.is_in(field.choices) if field.choices else _is_within(number, field)
        good = cell.str.contains(_PLAIN_INTEGER) & fits
    elif field.kind == "number":
        number = cell.cast(pl.Float64, strict=False)
        good = cell.str.contains(_PLAIN_NUMBER) & _is_within(number, field)
    elif field.choices:
        good = cell.is_in(field.choices)
    else:
        good = ~cell.str.contains(_CONTROL)
        if field.max_length is not None:
            good &= cell.str.len_chars() <= field.max_length
    good = good.fill_null(value=False)
    return (good & (cell != "")) if field.is_required else (good | (cell == ""))


def _is_within(number: pl.Expr, field: Field) -> pl.Expr:
    low, high = field.minimum, field.maximum
    return number.is_between(-math.inf if low is None else low, math.inf if high is None else high)


def _dtype(field: Field) -> Any:
    if field.is_integer:
        return pl.Int64
    return pl.Float64 if field.is_numeric else pl.String


def _typed(field: Field) -> pl.Expr:
    cell = pl.col(field.name)
    value = pl.when(cell != "").then(cell).cast(_dtype(field))
    return value if field.default is None else value.fill_null(field.default)


def _one_by_one(fields: Sequence[Field], cells: pl.DataFrame) -> tuple[pl.DataFrame, list[Problem]]:
    """The rows that the sieve does not know for good, each by the contract itself."""
    good: list[dict[str, Any]] = []
    problems: list[Problem] = []
    names = [field.name for field in fields]
    for row in cells.iter_rows(named=True):
        passenger = {name: row[name] for name in names}
        # Rules come later, for all rows at once.
        values, violations = check_row(fields, passenger, rules=(), is_text=True)
        problems += [Problem(row[ROW], row[violation.field], violation) for violation in violations]
        if not violations:
            good.append({ROW: row[ROW], **values})
    schema = {ROW: pl.Int64, **{field.name: _dtype(field) for field in fields}}
    return pl.DataFrame(good, schema=schema), problems


def _parts(rules: Sequence[Rule]) -> list[pl.Expr]:
    """What the rules read, each part once."""
    reads = {(name, pattern) for rule in rules for name, pattern in rule.reads.items()}
    return [
        (pl.col(name) if pattern is None else pl.col(name).str.extract(pattern, 0)).alias(_part(name, pattern))
        for name, pattern in sorted(reads, key=str)
    ]


def _part(name: str, pattern: str | None) -> str:
    return name if pattern is None else f"{name} ~ {pattern}"


def _broken(frame: pl.DataFrame, parts: pl.DataFrame, rule: Rule) -> list[tuple[int, Any, Violation]]:
    """(row, value, violation) where a rule is broken; rows that agree in what it reads are judged once."""
    read = {_part(name, pattern): name for name, pattern in rule.reads.items()}
    kinds = parts.select(read.keys()).unique()
    wrong = [kind for kind in kinds.iter_rows() if rule.check(dict(zip(read.values(), kind, strict=True)))]
    if not wrong:
        return []
    rows = parts.join(pl.DataFrame(wrong, schema=kinds.schema, orient="row"), on=list(read), nulls_equal=True)[ROW]
    found = frame.filter(pl.col(ROW).is_in(rows.to_list())).iter_rows(named=True)
    return [(values[ROW], values[violation.field], violation) for values in found for violation in rule.check(values)]
