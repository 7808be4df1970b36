"""Validate a table's chunk column by column; rows that are not plain go through `check_row`.

A value is plain in its simplest form ("22", not "+2.2e1"). A row of plain values is accepted only where `check_row`
would accept it with the same values: one contract, a million rows in seconds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingestion.contract import CONTROL_RANGES, Columns, Field, Rule, Severity, Violation, check_row

#: The frame's column with the index of a valid row in its chunk.
ROW = "row"
_PLAIN_INTEGER = r"^[0-9]{1,9}$"
_PLAIN_NUMBER = r"^[0-9]{1,9}(\.[0-9]{1,9})?$"


class Problem(NamedTuple):
    """A violation in a row (0 is the chunk's first), with the value that caused it."""

    row: int
    value: object
    violation: Violation
    severity: Severity = "error"


@dataclass(frozen=True)
class CheckedChunk:
    """A validated chunk: the valid rows, typed, in order, and the violations of all rows."""

    fields: Sequence[Field]
    frame: pl.DataFrame
    problems: list[Problem]

    @property
    def errors(self) -> list[Problem]:
        """The violations that reject their row."""
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def rows(self) -> NDArray[np.int64]:
        """Indices of the valid rows in the chunk, shape (n,)."""
        return self.frame[ROW].to_numpy()

    @cached_property
    def columns(self) -> Columns:
        """The valid rows as the arrays that features are derived from, each of shape (n,); NaN or None for unknown."""
        return {
            field.name: self.frame[field.name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
            if field.is_numeric
            else np.array(self.frame[field.name].to_list(), dtype=object)
            for field in self.fields
        }


def check_columns(
    fields: Sequence[Field], cells: pl.DataFrame, *, rules: Sequence[Rule], rejects_warnings: bool = False
) -> CheckedChunk:
    """Validate a chunk of text cells; the values of a missing column are unknown."""
    cells = cells.with_columns(pl.lit("").alias(field.name) for field in fields if field.name not in cells.columns)
    stripped = cells.select(pl.col(field.name).str.strip_chars() for field in fields)
    is_plain = stripped.select(pl.all_horizontal(_is_plain(field) for field in fields)).to_series()
    typed = []
    for field in fields:
        cell = pl.col(field.name)
        value = pl.when(cell != "").then(cell).cast(_dtype(field))
        typed.append(value if field.default is None else value.fill_null(field.default))
    plain = stripped.with_row_index(ROW).filter(is_plain).select(pl.col(ROW).cast(pl.Int64), *typed)
    others, problems = _check_rows(fields, cells.with_row_index(ROW).filter(~is_plain))
    frame = (pl.concat([plain, others]) if others.height else plain).sort(ROW)
    parts = frame.select(ROW, *_parts(rules))
    for rule in rules:
        broken = _violations(frame, parts, rule)
        severity = "error" if rejects_warnings else rule.severity
        problems += [Problem(row, value, violation, severity) for row, value, violation in broken]
        if severity == "error" and broken:
            frame = frame.filter(~pl.col(ROW).is_in({row for row, _value, _violation in broken}))
    return CheckedChunk(fields, frame, sorted(problems, key=lambda problem: problem.row))


def _is_plain(field: Field) -> pl.Expr:
    """Match cells that are plain and valid."""
    cell = pl.col(field.name)
    if field.is_integer:
        number = cell.cast(pl.Int64, strict=False)
        fits = number.is_in(field.choices) if field.choices else _is_within(number, field)
        is_valid = cell.str.contains(_PLAIN_INTEGER) & fits
    elif field.kind == "number":
        number = cell.cast(pl.Float64, strict=False)
        is_valid = cell.str.contains(_PLAIN_NUMBER) & _is_within(number, field)
    elif field.choices:
        is_valid = cell.is_in(field.choices)
    else:
        is_valid = ~cell.str.contains(f"[{CONTROL_RANGES}]")
        if field.max_length is not None:
            is_valid &= cell.str.len_chars() <= field.max_length
    is_valid = is_valid.fill_null(value=False)
    return (is_valid & (cell != "")) if field.is_required else (is_valid | (cell == ""))


def _is_within(number: pl.Expr, field: Field) -> pl.Expr:
    low, high = field.minimum, field.maximum
    return number.is_between(-math.inf if low is None else low, math.inf if high is None else high)


def _dtype(field: Field) -> type[pl.DataType]:
    if field.is_integer:
        return pl.Int64
    return pl.Float64 if field.is_numeric else pl.String


def _check_rows(fields: Sequence[Field], cells: pl.DataFrame) -> tuple[pl.DataFrame, list[Problem]]:
    """Validate rows one by one with the contract."""
    valid: list[dict[str, object]] = []
    problems: list[Problem] = []
    names = [field.name for field in fields]
    for row in cells.iter_rows(named=True):
        passenger = {name: row[name] for name in names}
        # The rules are checked later, for all rows at once.
        values, violations = check_row(fields, passenger, rules=(), is_text=True)
        problems += [Problem(row[ROW], row[violation.field], violation) for violation in violations]
        if not violations:
            valid.append({ROW: row[ROW], **values})
    schema: dict[str, type[pl.DataType]] = {ROW: pl.Int64, **{field.name: _dtype(field) for field in fields}}
    return pl.DataFrame(valid, schema=schema), problems


def _parts(rules: Sequence[Rule]) -> list[pl.Expr]:
    """Extract what the rules read, each part once."""
    reads = {(name, pattern) for rule in rules for name, pattern in rule.reads.items()}
    return [
        (pl.col(name) if pattern is None else pl.col(name).str.extract(pattern, 0)).alias(_part(name, pattern))
        for name, pattern in sorted(reads, key=str)
    ]


def _part(name: str, pattern: str | None) -> str:
    return name if pattern is None else f"{name} ~ {pattern}"


def _violations(frame: pl.DataFrame, parts: pl.DataFrame, rule: Rule) -> list[tuple[int, object, Violation]]:
    """Find (row, value, violation) where a rule is broken; rows that agree in what it reads are checked once."""
    read = {_part(name, pattern): name for name, pattern in rule.reads.items()}
    distinct = parts.select(read.keys()).unique()
    broken = [values for values in distinct.iter_rows() if rule.check(dict(zip(read.values(), values, strict=True)))]
    if not broken:
        return []
    rows = parts.join(pl.DataFrame(broken, schema=distinct.schema, orient="row"), on=list(read), nulls_equal=True)[ROW]
    return [
        (values[ROW], values[violation.field], violation)
        for values in frame.filter(pl.col(ROW).is_in(rows.to_list())).iter_rows(named=True)
        for violation in rule.check(values)
    ]
