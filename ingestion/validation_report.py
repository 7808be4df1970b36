"""Record a table's violations and its rejected rows."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from core.postgres_copy import Copier, to_csv
from ingestion.contract import Violation
from ingestion.models import Dataset, RejectedRow, RowProblem
from ingestion.table import RAGGED, Chunk
from ingestion.table_validation import Problem

_MAX_VALUE_LENGTH = 1000
_PROBLEM_COLUMNS = ("dataset_id", "line_number", '"column"', "value", "code", "message", "params", "severity")
_REJECTED_COLUMNS = ("dataset_id", "line_number", "cells")


class RowCounts(NamedTuple):
    """Numbers of rows: one row may have several violations."""

    rejected: int
    warned: int


def record(dataset: Dataset, chunk: Chunk, problems: Sequence[Problem], *, copier: Copier) -> RowCounts:
    """Write the violations of the chunk's rows, and the cells of the rejected rows."""
    rejected = {problem.row for problem in problems if problem.severity == "error"}
    warned = {problem.row for problem in problems} - rejected
    rows = [(chunk.lines[row], chunk.table.row(row)) for row in sorted(rejected)] + list(chunk.ragged.items())
    if rows:
        width = len(chunk.header)
        cells = []
        for line, row in rows:
            by_heading = dict(zip(chunk.header, row, strict=False))
            if len(row) > width:
                # Cells beyond the last heading are joined under an empty one.
                by_heading[""] = ",".join(row[width:])
            cells.append((dataset.pk, line, _json(by_heading)))
        copier.copy(RejectedRow._meta.db_table, _REJECTED_COLUMNS, to_csv(cells))
    violations = [(chunk.lines[each.row], each.value, each.violation, each.severity) for each in problems]
    violations += [(line, "", Violation("", "ragged", RAGGED), "error") for line in chunk.ragged]
    violations.sort(key=lambda each: each[0])
    if violations:
        lines = [
            (
                dataset.pk, line, violation.field, _storable("" if value is None else str(value))[:_MAX_VALUE_LENGTH],
                violation.code, violation.message, _json(violation.params), severity,
            )
            for line, value, violation, severity in violations
        ]  # fmt: skip
        copier.copy(RowProblem._meta.db_table, _PROBLEM_COLUMNS, to_csv(lines), never_null=('"column"', "value"))
    return RowCounts(len(rows), len(warned))


def _json(values: Mapping[str, object]) -> str:
    return _storable(json.dumps({_storable(name): value for name, value in values.items()}, ensure_ascii=False))


def _storable(text: str) -> str:
    """Replace NUL, which Postgres does not store."""
    return text.replace("\0", "␀").replace("\\u0000", "␀")
