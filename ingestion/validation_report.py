"""What is kept of the rows that the contract did not like."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from core.postgres_copy import Copier, to_csv
from ingestion.contract import Violation
from ingestion.models import Dataset, RefusedRow, RowProblem
from ingestion.table import RAGGED, Chunk
from ingestion.table_validation import Problem

_LONGEST_VALUE = 1000
_PROBLEM_COLUMNS = ("dataset_id", "line_number", '"column"', "value", "code", "message", "params", "severity")
_REFUSED_COLUMNS = ("dataset_id", "line_number", "cells")


class RowCounts(NamedTuple):
    """Rows, not problems: one row may have several."""

    rejected_count: int
    warning_count: int


def record(dataset: Dataset, chunk: Chunk, problems: Sequence[Problem], *, copier: Copier) -> RowCounts:
    """Write down what is wrong with the chunk's rows, and the refused rows as they stand."""
    refused = {problem.row for problem in problems if problem.severity == "error"}
    warned = {problem.row for problem in problems} - refused
    rows = [(chunk.lines[row], chunk.table.row(row)) for row in sorted(refused)] + list(chunk.ragged.items())
    if rows:
        cells = [(dataset.pk, line, _json(_by_heading(chunk.header, row))) for line, row in rows]
        copier.copy(RefusedRow._meta.db_table, _REFUSED_COLUMNS, to_csv(cells))
    said = [(chunk.lines[each.row], each.value, each.violation, each.severity) for each in problems]
    said += [(line, "", Violation("", "ragged", RAGGED), "error") for line in chunk.ragged]
    said.sort(key=lambda each: each[0])
    if said:
        rows_of_problems = to_csv(_problem_row(dataset, *each) for each in said)
        copier.copy(RowProblem._meta.db_table, _PROBLEM_COLUMNS, rows_of_problems, never_null=('"column"', "value"))
    return RowCounts(len(rows), len(warned))


def _by_heading(header: Sequence[str], row: Sequence[str]) -> dict[str, str]:
    """A row's cells; those beyond the last heading under none."""
    beyond = {"": ",".join(row[len(header) :])} if len(row) > len(header) else {}
    return {**dict(zip(header, row, strict=False)), **beyond}


def _problem_row(dataset: Dataset, line: int, value: object, violation: Violation, severity: str) -> tuple[Any, ...]:
    kept = _storable("" if value is None else str(value))[:_LONGEST_VALUE]
    params = _json(violation.params)
    return dataset.pk, line, violation.field, kept, violation.code, violation.message, params, severity


def _json(values: Mapping[str, Any]) -> str:
    return _storable(json.dumps({_storable(name): value for name, value in values.items()}, ensure_ascii=False))


def _storable(text: str) -> str:
    """Postgres keeps no NUL."""
    return text.replace("\0", "␀").replace("\\u0000", "␀")
