"""Load a table's chunks into Postgres: validate them, profile them, split them, COPY them."""

import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.postgres_copy import Copier, to_csv
from ingestion import contract, partitions, table_validation
from ingestion.duplicate_ids import SeenIds
from ingestion.models import Dataset, RejectedRow, RowProblem
from ingestion.passenger import GROUP, KEY, LABEL, RULES
from ingestion.profile import ColumnProfile, ColumnProfiler
from ingestion.reading import Reading, to_json
from ingestion.schema import FIELD_NAMES, FIELDS, LABEL_FIELD
from ingestion.spellings import Spellings
from ingestion.split import SEED, Split, buckets_of, draw
from ingestion.table import RAGGED, Chunk, reject_other_headers

_LINE = "line_number"
_LINE_BITS = 32
_COLUMNS = ("id", "dataset_id", _LINE, KEY, LABEL, "is_holdout", "revision", *FIELD_NAMES)
_PROBLEM_COLUMNS = ("dataset_id", _LINE, '"column"', "value", "code", "message", "params", "severity")
_REJECTED_COLUMNS = ("dataset_id", _LINE, "cells")
_MAX_VALUE_LENGTH = 1000
_DUPLICATE = contract.Violation(
    KEY,
    "duplicate",
    contract.gettext_noop("A row with this key is in the table already: remove one, or correct the key."),
)


def draw_holdout(chunks: Iterable[Chunk], *, markers: Sequence[str] = ()) -> NDArray[np.bool_]:
    """Draw the rows of a table that are held out, in the table's order, from its labels and groups alone: shape (n,).

    This pass costs less than writing a fifth of the rows in Postgres a second time. It counts rows that the contract
    will reject, too.
    """
    labels, buckets = [np.empty(0, dtype=bool)], [np.empty(0, dtype=np.int32)]
    spellings = Spellings(markers=markers)
    group_field = next((field for field in FIELDS if field.name == GROUP), None)
    for chunk in chunks:
        cells = chunk.cells
        label, _is_plain = table_validation.spell(LABEL_FIELD, cells[LABEL], spellings)
        labels.append((label.cast(pl.Float64, strict=False) == 1).fill_null(value=False).to_numpy())
        # A row without a group is a group of its own.
        groups = pl.select(pl.format("line {}", pl.Series(_LINE, chunk.lines))).to_series()
        if group_field is not None and GROUP in cells.columns:
            names, _is_plain = table_validation.spell(group_field, cells[group_field.name], spellings)
            groups = groups.zip_with(names == "", names)
        buckets.append(buckets_of(groups.cast(pl.Binary).to_list()))
    return draw(np.concatenate(labels), np.concatenate(buckets))


class Loader:
    """Load a dataset's chunks in order, and count their rows. Lives inside one transaction."""

    def __init__(
        self, dataset: Dataset, *, reading: Reading, is_holdout: NDArray[np.bool_] | None, copier: Copier
    ) -> None:
        self.dataset = dataset
        self.reading = reading
        self._spellings = Spellings(decimals=reading.decimals, markers=dataset.markers)
        self.fields = dataset.table_fields
        self.row_count = self.problem_count = self.warning_count = self.holdout_count = 0
        self._profilers = [ColumnProfiler(field) for field in self.fields]
        self._copier = copier
        self._table = partitions.create(dataset)
        self._seen = SeenIds()
        self._is_holdout = is_holdout
        self._offset = 0

    def load(self, chunk: Chunk) -> None:
        """Copy the chunk's valid rows into the table, and record the others with their violations."""
        cells = chunk.cells
        if KEY not in cells.columns:
            cells = cells.with_columns(pl.Series(KEY, chunk.lines - 1).cast(pl.String))
        checked = table_validation.check_columns(
            self.fields, cells, rules=RULES, rejects_warnings=self.dataset.rejects_warnings, spellings=self._spellings
        )
        reject_other_headers(chunk, [(each.row, each.value) for each in checked.errors], self.fields)
        self.reading.add_choices(checked.choices)
        is_new = self._seen.is_new(checked.frame[KEY])
        self._copy(chunk, checked.frame.filter(is_new))
        duplicates = [
            table_validation.Problem(row, key, _DUPLICATE)
            for row, key in checked.frame.filter(~is_new).select(table_validation.ROW, KEY).iter_rows()
        ]
        self._record(chunk, [*checked.problems, *duplicates])

    def profile(self) -> dict[str, ColumnProfile]:
        """Profile the rows that were loaded, by column."""
        return {profiler.field.name: profiler.result() for profiler in self._profilers}

    def report(self) -> dict[str, object]:
        """Return how the table was read, as the dataset keeps it."""
        self.reading.add_spellings(self._spellings)
        return to_json(self.reading)

    def split(self) -> Split:
        """Describe the split of the rows that were loaded."""
        is_grouped = GROUP is not None and not self.reading.ungrouped
        method = f"stratified, grouped by {GROUP}" if is_grouped else "stratified"
        train_count = self.row_count - self.holdout_count
        return {"method": method, "seed": SEED, "train": train_count, "holdout": self.holdout_count}

    def attach(self) -> None:
        """Make the rows visible with the transaction's commit."""
        self._copier.wait()
        partitions.attach(self.dataset)

    def discard(self) -> None:
        """Drop the rows; the violations stay, so that a person can see what to correct."""
        self._copier.wait()
        partitions.drop(self.dataset)

    def _copy(self, chunk: Chunk, rows: pl.DataFrame) -> None:
        index = rows[table_validation.ROW].to_numpy()
        if self._is_holdout is None:
            is_holdout = np.zeros(len(index), dtype=bool)
        else:
            is_holdout = self._is_holdout[self._offset + index]
        self._offset += len(chunk.lines)
        self.row_count += rows.height
        self.holdout_count += int(is_holdout.sum())
        for profiler in self._profilers:
            profiler.add(rows[profiler.field.name])
        rows = rows.with_columns(
            pl.lit(self.dataset.pk).alias("dataset_id"),
            # An id of dataset and line: PostgreSQL's sequence would take a third of the time.
            pl.Series("id", chunk.lines[index] + (self.dataset.pk << _LINE_BITS)),
            pl.Series(_LINE, chunk.lines[index]),
            pl.Series("is_holdout", is_holdout),
            pl.lit(0).alias("revision"),
            (pl.col(LABEL) if self.dataset.has_label else pl.lit(None)).cast(pl.Boolean).alias(LABEL),
        )
        self._copier.copy(self._table, _COLUMNS, rows.select(_COLUMNS).write_csv(include_header=False).encode())

    def _record(self, chunk: Chunk, problems: Sequence[table_validation.Problem]) -> None:
        """Write the violations of the chunk's rows and the cells of the rejected rows; one may have several."""
        pk = self.dataset.pk
        rejected = {problem.row for problem in problems if problem.severity == "error"}
        rows = [(chunk.lines[row], chunk.table.row(row)) for row in sorted(rejected)] + list(chunk.ragged.items())
        self.problem_count += len(rows)
        self.warning_count += len({problem.row for problem in problems} - rejected)
        if rows:
            cells = []
            for line, row in rows:
                header = chunk.layout.header
                by_heading = dict(zip(header, row, strict=False))
                if surplus := row[len(header) :]:
                    # Cells beyond the last heading are joined under an empty one.
                    by_heading[""] = ",".join(surplus)
                cells.append((pk, line, _json(by_heading)))
            self._copier.copy(RejectedRow._meta.db_table, _REJECTED_COLUMNS, to_csv(cells))
        violations = [(chunk.lines[each.row], each.value, each.violation, each.severity) for each in problems]
        violations += [(line, "", contract.Violation("", "ragged", RAGGED), "error") for line in chunk.ragged]
        violations.sort(key=lambda each: each[0])
        for line, value, violation, severity in violations:
            if severity == "error":
                self.reading.add_rejected(int(line), _storable("" if value is None else str(value)), violation)
        if violations:
            lines = [
                (
                    pk, line, violation.field, _storable("" if value is None else str(value))[:_MAX_VALUE_LENGTH],
                    violation.code, violation.message, _json(violation.params), severity,
                )
                for line, value, violation, severity in violations
            ]  # fmt: skip
            never_null = ('"column"', "value")
            self._copier.copy(RowProblem._meta.db_table, _PROBLEM_COLUMNS, to_csv(lines), never_null=never_null)


def _json(values: Mapping[str, object]) -> str:
    return _storable(json.dumps({_storable(name): value for name, value in values.items()}, ensure_ascii=False))


def _storable(text: str) -> str:
    """Replace NUL, which Postgres does not store."""
    return text.replace("\0", "␀").replace("\\u0000", "␀")
