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

from ingestion.contract import CONTROL, Columns, Field, Refusal, Rule, Severity, check_row

#: The frame's column that says which row of the chunk a good row was.
ROW = "row"
_PLAIN_INTEGER = r"^[0-9]{1,9}$"
_PLAIN_NUMBER = r"^[0-9]{1,9}(\.[0-9]{1,9})?$"
# Surrogates cannot be written in UTF-8, and the engine's patterns do not know them.
_CONTROL = CONTROL.pattern.replace(r"\ud800-\udfff", "")


class Problem(NamedTuple):
    """A refusal, or a warning, with the row (0 is the chunk's first) and the value that caused it."""

    row: int
    value: Any
    refusal: Refusal
    severity: Severity = "error"


@dataclass(frozen=True)
class Checked:
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
            rule.name: self.frame[rule.name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
            if rule.is_numeric
            else np.array(self.frame[rule.name].to_list(), dtype=object)
            for rule in self.fields
        }


def check_columns(
    fields: Sequence[Field], cells: pl.DataFrame, *, rules: Sequence[Rule], refuses_warnings: bool = False
) -> Checked:
    """Judge a chunk of text cells; a column that is absent is unknown throughout."""
    cells = cells.with_columns(pl.lit("").alias(rule.name) for rule in fields if rule.name not in cells.columns)
    stripped = cells.select(pl.col(rule.name).str.strip_chars() for rule in fields)
    is_plain = stripped.select(pl.all_horizontal(_is_plain(rule) for rule in fields)).to_series()
    certain = stripped.with_row_index(ROW).filter(is_plain).select(pl.col(ROW).cast(pl.Int64), *map(_typed, fields))
    suspects, problems = _one_by_one(fields, cells.with_row_index(ROW).filter(~is_plain))
    frame = (pl.concat([certain, suspects]) if suspects.height else certain).sort(ROW)
    parts = frame.select(ROW, *_parts(rules))
    for rule in rules:
        found = _broken(frame, parts, rule)
        severity = "error" if refuses_warnings else rule.severity
        problems += [Problem(row, value, refusal, severity) for row, value, refusal in found]
        if severity == "error" and found:
            frame = frame.filter(~pl.col(ROW).is_in({row for row, _value, _refusal in found}))
    return Checked(fields, frame, sorted(problems, key=lambda problem: problem.row))


def _is_plain(rule: Field) -> pl.Expr:
    """Whether a cell is certainly good as it stands."""
    cell = pl.col(rule.name)
    if rule.is_integer:
        number = cell.cast(pl.Int64, strict=False)
        fits = number.is_in(rule.choices) if rule.choices else _is_within(number, rule)
        good = cell.str.contains(_PLAIN_INTEGER) & fits
    elif rule.kind == "number":
        number = cell.cast(pl.Float64, strict=False)
        good = cell.str.contains(_PLAIN_NUMBER) & _is_within(number, rule)
    elif rule.choices:
        good = cell.is_in(rule.choices)
    else:
        good = ~cell.str.contains(_CONTROL)
        if rule.max_length is not None:
            good &= cell.str.len_chars() <= rule.max_length
    good = good.fill_null(value=False)
    return (good & (cell != "")) if rule.is_required else (good | (cell == ""))


def _is_within(number: pl.Expr, rule: Field) -> pl.Expr:
    low, high = rule.minimum, rule.maximum
    return number.is_between(-math.inf if low is None else low, math.inf if high is None else high)


def _dtype(rule: Field) -> Any:
    if rule.is_integer:
        return pl.Int64
    return pl.Float64 if rule.is_numeric else pl.String


def _typed(rule: Field) -> pl.Expr:
    cell = pl.col(rule.name)
    value = pl.when(cell != "").then(cell).cast(_dtype(rule))
    return value if rule.default is None else value.fill_null(rule.default)


def _one_by_one(fields: Sequence[Field], cells: pl.DataFrame) -> tuple[pl.DataFrame, list[Problem]]:
    """The rows that the sieve does not know for good, each by the contract itself."""
    good: list[dict[str, Any]] = []
    problems: list[Problem] = []
    names = [rule.name for rule in fields]
    for row in cells.iter_rows(named=True):
        passenger = {name: row[name] for name in names}
        # Rules come later, for all rows at once.
        values, refusals = check_row(fields, passenger, rules=(), is_text=True)
        problems += [Problem(row[ROW], row[refusal.field], refusal) for refusal in refusals]
        if not refusals:
            good.append({ROW: row[ROW], **values})
    schema = {ROW: pl.Int64, **{rule.name: _dtype(rule) for rule in fields}}
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


def _broken(frame: pl.DataFrame, parts: pl.DataFrame, rule: Rule) -> list[tuple[int, Any, Refusal]]:
    """(row, value, refusal) where a rule is broken; rows that agree in what it reads are judged once."""
    read = {_part(name, pattern): name for name, pattern in rule.reads.items()}
    kinds = parts.select(read.keys()).unique()
    wrong = [kind for kind in kinds.iter_rows() if rule.check(dict(zip(read.values(), kind, strict=True)))]
    if not wrong:
        return []
    rows = parts.join(pl.DataFrame(wrong, schema=kinds.schema, orient="row"), on=list(read), nulls_equal=True)[ROW]
    found = frame.filter(pl.col(ROW).is_in(rows.to_list())).iter_rows(named=True)
    return [(values[ROW], values[refusal.field], refusal) for values in found for refusal in rule.check(values)]
