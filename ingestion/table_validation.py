"""Validate a table's chunk column by column; rows that are not plain go through the contract.

A value is plain in its simplest form ("22", not "+2.2e1"). A row of plain values is accepted only where the contract
would accept it with the same values: one contract, a million rows in seconds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import and_
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ingestion.contract import CONTROL_RANGES, Columns, Contract, Field, Rule, Severity, Violation
from ingestion.spellings import Spellings

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

    @property
    def choices(self) -> dict[str, list[int | str]]:
        """The values of each required choice in the valid rows."""
        names = [field.name for field in self.fields if field.is_required and field.choices]
        return {name: self.frame[name].unique().to_list() for name in names}

    @cached_property
    def columns(self) -> Columns:
        """The valid rows as the arrays that features are derived from, each of shape (n,); NaN or None for unknown."""
        return {
            field.name: self.frame[field.name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
            if field.is_numeric
            else np.array(self.frame[field.name].to_list(), dtype=object)
            for field in self.fields
        }


def spell(field: Field, column: pl.Series, spellings: Spellings) -> tuple[pl.Series, pl.Series]:
    """Strip and spell a column's cells; return them, and which are plain and valid."""
    column = column.str.strip_chars()
    is_plain = _is_plain(field, column, spellings)
    # Where a decimal comma is possible, a point may be that of a thousand.
    is_sure = spellings.decimals.get(field.name, ".") == "."
    spelt = spellings.spell(field, column, is_plain if is_sure else is_plain & ~column.str.contains(".", literal=True))
    return spelt, is_plain if spelt is column else _is_plain(field, spelt, spellings)


def check_columns(
    fields: Sequence[Field],
    cells: pl.DataFrame,
    *,
    rules: Sequence[Rule],
    rejects_warnings: bool = False,
    spellings: Spellings | None = None,
) -> CheckedChunk:
    """Validate a chunk of text cells, spelt as files do; the values of a missing column are unknown."""
    spellings = spellings or Spellings()
    cells = cells.with_columns(pl.lit("").alias(field.name) for field in fields if field.name not in cells.columns)
    columns, masks = zip(*(spell(field, cells[field.name], spellings) for field in fields), strict=True)
    stripped = pl.DataFrame([column.alias(field.name) for field, column in zip(fields, columns, strict=True)])
    is_plain = reduce(and_, masks)
    typed = []
    for field in fields:
        cell = pl.col(field.name)
        value = pl.when(cell != "").then(cell).cast(_dtype(field))
        typed.append(value if field.default is None else value.fill_null(field.default))
    plain = stripped.with_row_index(ROW).filter(is_plain).select(pl.col(ROW).cast(pl.Int64), *typed)
    others, problems = _check_rows(fields, stripped.with_row_index(ROW).filter(~is_plain), cells, spellings.markers)
    frame = (pl.concat([plain, others]) if others.height else plain).sort(ROW)
    for rule in rules:
        broken = _violations(frame, rule)
        severity = "error" if rejects_warnings else rule.severity
        problems += [Problem(row, value, violation, severity) for row, value, violation in broken]
        if severity == "error" and broken:
            frame = frame.filter(~pl.col(ROW).is_in({row for row, _value, _violation in broken}))
    return CheckedChunk(fields, frame, sorted(problems, key=lambda problem: problem.row))


def _is_plain(field: Field, column: pl.Series, spellings: Spellings) -> pl.Series:
    """Tell which of a column's stripped cells are plain and valid."""
    if field.choices and not field.is_integer:
        is_valid = column.is_in(field.choices)
    elif field.is_numeric:
        kind, pattern = (pl.Int64, _PLAIN_INTEGER) if field.is_integer else (pl.Float64, _PLAIN_NUMBER)
        number = column.cast(kind, strict=False)
        is_valid = number.is_in(field.choices) if field.choices else _is_within(number, field)
        is_valid = is_valid.fill_null(value=False) & column.str.contains(pattern)
    else:
        is_valid = ~column.str.contains(f"[{CONTROL_RANGES}]")
        if field.max_length is not None:
            is_valid &= column.str.len_chars() <= field.max_length
        is_valid &= ~column.str.to_lowercase().is_in(spellings.markers | field.own_markers)
    return is_valid & (column != "") if field.is_required else is_valid | (column == "")


def _is_within(number: pl.Series, field: Field) -> pl.Series:
    low, high = field.minimum, field.maximum
    return number.is_between(-math.inf if low is None else low, math.inf if high is None else high)


def _dtype(field: Field) -> type[pl.DataType]:
    if field.is_integer:
        return pl.Int64
    return pl.Float64 if field.is_numeric else pl.String


def _check_rows(
    fields: Sequence[Field], spelt: pl.DataFrame, cells: pl.DataFrame, markers: frozenset[str]
) -> tuple[pl.DataFrame, list[Problem]]:
    """Validate rows one by one with the contract; a problem has the cell as it stood in the file."""
    rows = spelt[ROW].to_list()
    # The rules are checked later, for all rows at once.
    checked, wrong = Contract(fields, markers=markers).check_all(spelt.drop(ROW).to_dicts(), is_text=True)
    problems = [
        Problem(rows[index], cells[rows[index], violation.field], violation)
        for index, violations in wrong.items()
        for violation in violations
    ]
    valid = [{ROW: rows[index], **values} for index, values in enumerate(checked) if index not in wrong]
    schema: dict[str, type[pl.DataType]] = {ROW: pl.Int64, **{field.name: _dtype(field) for field in fields}}
    return pl.DataFrame(valid, schema=schema), problems


def _violations(frame: pl.DataFrame, rule: Rule) -> list[tuple[int, object, Violation]]:
    """Find (row, value, violation) where a rule is broken; rows that agree in what it reads are checked once."""
    parts = frame.select(
        ROW,
        *(
            pl.col(name) if pattern is None else pl.col(name).str.extract(pattern, 0)
            for name, pattern in rule.reads.items()
        ),
    )
    distinct = parts.drop(ROW).unique()
    broken = [values for values in distinct.iter_rows(named=True) if rule.check(values)]
    if not broken:
        return []
    rows = parts.join(pl.DataFrame(broken, schema=distinct.schema), on=list(rule.reads), nulls_equal=True)[ROW]
    return [
        (values[ROW], values[violation.field], violation)
        for values in frame.filter(pl.col(ROW).is_in(rows.to_list())).iter_rows(named=True)
        for violation in rule.check(values)
    ]
