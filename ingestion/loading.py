"""From a table's bytes to rows in Postgres: chunk by chunk through the contract, then COPY."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from django.db import connection

from ingestion import contract
from ingestion.models import Dataset, Passenger, RowProblem
from ingestion.passenger import (
    FIELD_NAMES,
    FIELDS,
    GROUP,
    KEY,
    KEY_FIELD,
    LABEL,
    LABEL_FIELD,
    WORKED_OUT,
    contradictions,
)
from ingestion.split import holdout
from ingestion.table import RAGGED, Chunk

HOLDOUT_SHARE = 0.2
SPLIT_SEED = 42
_LONGEST_VALUE_KEPT = 1000


class Loader:
    """Takes a dataset's chunks in order and counts what became of their rows. Lives inside one transaction."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.row_count = 0
        self.problem_count = 0
        self._seen: set[str] = set()
        self._labels: list[bool] = []
        self._groups: list[str | None] = []
        self._lines: list[int] = []
        self.fields = (KEY_FIELD, *FIELDS, *((LABEL_FIELD,) if dataset.has_label else ()))

    @property
    def known(self) -> list[str]:
        """The columns that mean something here."""
        return [field.name for field in self.fields]

    @property
    def required(self) -> list[str]:
        """The columns a table must have; without a passenger id, the line number is one."""
        return [name for name in self.known if name not in (KEY, *WORKED_OUT)]

    def load(self, chunk: Chunk) -> None:
        """Copy the chunk's good rows into the table and keep the problems of the others."""
        cells = {KEY: [str(line - 1) for line in chunk.lines], **chunk.cells}
        checked = contract.check_columns(self.fields, cells, row_count=len(chunk.lines), rules=contradictions)
        rows, twice = self._first_of_each(cells[KEY], checked)
        lines = [chunk.lines[row] for row in checked.rows[rows]]
        columns = {name: column[rows] for name, column in checked.columns.items()}
        self._copy(lines, columns)
        self._keep_problems(chunk, [*checked.problems, *twice])

    def split(self) -> dict[str, Any] | None:
        """Fix the hold-out of the rows loaded; None without labels."""
        if not self.dataset.has_label:
            return None
        held = holdout(np.array(self._labels, dtype=bool), self._groups, share=HOLDOUT_SHARE, seed=SPLIT_SEED)
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {Passenger._meta.db_table} SET is_holdout = true"
                " WHERE dataset_id = %s AND line_number = ANY(%s)",
                [self.dataset.pk, np.array(self._lines)[held].tolist()],
            )
        held_count = int(held.sum())
        method = f"stratified, grouped by {GROUP}"
        return {"method": method, "seed": SPLIT_SEED, "train": self.row_count - held_count, "holdout": held_count}

    def _first_of_each(
        self, keys: Sequence[str], checked: contract.Checked
    ) -> tuple[list[int], list[contract.Problem]]:
        """Positions among the good rows whose key is new, and a problem for each that is not."""
        new: list[int] = []
        twice: list[contract.Problem] = []
        message = contract.gettext_noop("This passenger is in the table already.")
        for place, (row, key) in enumerate(zip(checked.rows, checked.columns[KEY], strict=True)):
            if key in self._seen:
                twice.append(contract.Problem(int(row), keys[row], contract.Refusal(KEY, "duplicate", message)))
            else:
                self._seen.add(key)
                new.append(place)
        return new, twice

    def _copy(self, lines: list[int], columns: contract.Columns) -> None:
        values = {field.name: contract.python_values(field, columns[field.name]) for field in FIELDS}
        labels: list[Any] = columns[LABEL].astype(bool).tolist() if LABEL in columns else [None] * len(lines)
        names = ("dataset_id", "line_number", KEY, LABEL, "is_holdout", *FIELD_NAMES)
        ids, never = [self.dataset.pk] * len(lines), [False] * len(lines)
        copy_rows(
            Passenger._meta.db_table, names, zip(ids, lines, columns[KEY], labels, never, *values.values(), strict=True)
        )
        self.row_count += len(lines)
        self._lines += lines
        self._labels += labels
        self._groups += [None if group is None else str(group) for group in values[GROUP]]

    def _keep_problems(self, chunk: Chunk, problems: list[contract.Problem]) -> None:
        rows = [
            RowProblem(
                dataset=self.dataset,
                line_number=chunk.lines[problem.row],
                column=problem.refusal.field,
                value=str(problem.value if problem.value is not None else "")[:_LONGEST_VALUE_KEPT].replace("\0", "␀"),
                code=problem.refusal.code,
                message=problem.refusal.message,
                params=dict(problem.refusal.params),
            )
            for problem in problems
        ]
        rows += [
            RowProblem(dataset=self.dataset, line_number=line, column="", code="ragged", message=RAGGED)
            for line in chunk.ragged
        ]
        RowProblem.objects.bulk_create(rows, batch_size=1000)
        self.problem_count += len({row.line_number for row in rows})


def copy_rows(table: str, columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """COPY rows of Python values into a table, None as NULL, within the caller's transaction."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    text.seek(0)
    with connection.cursor() as cursor:
        cursor.copy_expert(f"COPY {table} ({', '.join(columns)}) FROM STDIN WITH (FORMAT csv)", text)
