"""From a table's blocks to rows in Postgres: through the contract, the profile and the hold-out, then COPY."""

from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.postgres_copy import Copier
from ingestion import contract, partitions, table_validation, validation_report
from ingestion.duplicate_ids import SeenIds
from ingestion.models import Dataset
from ingestion.passenger import FIELD_NAMES, GROUP, KEY, LABEL, RULES
from ingestion.profile import Profile
from ingestion.split import Holdout, buckets_of
from ingestion.table import Chunk

_LINE = "line_number"
_LINE_BITS = 32
_COLUMNS = ("id", "dataset_id", _LINE, KEY, LABEL, "is_holdout", "revision", *FIELD_NAMES)
_DUPLICATE = contract.Violation(
    KEY, "duplicate", contract.gettext_noop("This passenger is in the table already: remove one, or correct the id.")
)


def draw_holdout(chunks: Iterable[Chunk]) -> NDArray[np.bool_]:
    """Which rows of a table are held out, in the table's order, from a pass over its labels and groups alone.

    That pass costs less than writing a fifth of the rows in Postgres a second time. Rows that the contract will refuse
    are among them, and take part in nothing else.
    """
    holdout = Holdout()
    buckets: list[NDArray[np.int32]] = []
    for chunk in chunks:
        group = pl.col(GROUP).str.strip_chars()
        read = chunk.cells.with_columns(pl.Series(_LINE, chunk.lines)).select(
            (pl.col(LABEL).str.strip_chars().cast(pl.Float64, strict=False) == 1).fill_null(value=False),
            # Who is in no group stands alone.
            pl.when(group == "").then(pl.format("line {}", _LINE)).otherwise(group).cast(pl.Binary).alias(GROUP),
        )
        buckets.append(buckets_of(read[GROUP].to_list()))
        holdout.count(read[LABEL].to_numpy(), buckets[-1])
    is_held = holdout.draw()
    return np.concatenate([is_held[some] for some in buckets]) if buckets else np.empty(0, dtype=bool)


class Loader:
    """Takes a dataset's chunks in order and counts what became of their rows. Lives inside one transaction."""

    def __init__(self, dataset: Dataset, *, is_holdout: NDArray[np.bool_] | None, copier: Copier) -> None:
        self.dataset = dataset
        self.fields = dataset.table_fields
        self.row_count = self.problem_count = self.warning_count = self.holdout_count = 0
        self.profile = Profile(self.fields)
        self._copier = copier
        self._table = partitions.create(dataset)
        self._seen = SeenIds()
        self._held = is_holdout
        self._place = 0

    def load(self, chunk: Chunk) -> None:
        """Copy the chunk's good rows into the table and keep the others, with the problems of each."""
        cells = chunk.cells
        if KEY not in cells.columns:
            cells = cells.with_columns(pl.Series(KEY, chunk.lines - 1).cast(pl.String))
        checked = table_validation.check_columns(
            self.fields, cells, rules=RULES, refuses_warnings=self.dataset.refuses_warnings
        )
        is_new = self._seen.is_new(checked.frame[KEY])
        twice = checked.frame.filter(~is_new)
        good = checked.frame.filter(is_new)
        self._copy(chunk, good)
        duplicates = [
            table_validation.Problem(row, key, _DUPLICATE)
            for row, key in twice.select(table_validation.ROW, KEY).iter_rows()
        ]
        kept = validation_report.record(self.dataset, chunk, [*checked.problems, *duplicates], copier=self._copier)
        self.problem_count += kept.rejected_count
        self.warning_count += kept.warning_count

    def finish(self) -> None:
        """Make the rows visible with the transaction's commit."""
        self._copier.wait()
        partitions.attach(self.dataset)

    def discard(self) -> None:
        """Forget the rows; the problems stay, so that a person can see what to mend."""
        self._copier.wait()
        partitions.drop(self.dataset)

    def _copy(self, chunk: Chunk, rows: pl.DataFrame) -> None:
        places = rows[table_validation.ROW].to_numpy()
        is_holdout = np.zeros(len(places), dtype=bool) if self._held is None else self._held[self._place + places]
        self._place += len(chunk.lines)
        self.row_count += rows.height
        self.holdout_count += int(is_holdout.sum())
        self.profile.add(rows)
        whole = rows.with_columns(
            pl.lit(self.dataset.pk).alias("dataset_id"),
            # Out of the sequence's way, which would cost a third of the time.
            pl.Series("id", chunk.lines[places] + (self.dataset.pk << _LINE_BITS)),
            pl.Series(_LINE, chunk.lines[places]),
            pl.Series("is_holdout", is_holdout),
            pl.lit(0).alias("revision"),
            (pl.col(LABEL) if self.dataset.has_label else pl.lit(None)).cast(pl.Boolean).alias(LABEL),
        )
        piece = whole.select(_COLUMNS).write_csv(include_header=False)
        self._copier.copy(self._table, _COLUMNS, piece.encode())
