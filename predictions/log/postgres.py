"""The log's table in Postgres: insert predictions by COPY, idempotent on their ids."""

from collections import Counter
from collections.abc import Sequence

import msgspec
from django.db import DataError, IntegrityError, connection, transaction

from core.postgres_copy import copy_lines
from predictions.log import counts
from predictions.log.entries import COLUMNS, LogEntry, StreamEntry, complete, count_predictions, decode, encode
from predictions.models import Prediction

#: Errors that an entry itself causes; a database that is unavailable, full or shutting down raises others.
_ENTRY_ERRORS = (DataError, IntegrityError, ValueError)


def insert(entries: Sequence[LogEntry]) -> None:
    """Write predictions to Postgres now; those that are there already stay as they are."""
    _insert(encode(entries))


def store_entries(batch: Sequence[StreamEntry]) -> tuple[dict[bytes, int], dict[bytes, Exception]]:
    """Insert what can be inserted; returns each entry's number of predictions, and the errors by entry id."""
    counts: dict[bytes, int] = {}
    failures: dict[bytes, Exception] = {}
    for entry_id, raw in batch:
        try:
            counts[entry_id] = count_predictions(raw)
        except ValueError as error:
            failures[entry_id] = error
    readable = [entry for entry in batch if entry.entry_id in counts]
    try:
        _insert(b"".join(entry.raw for entry in readable))
    except _ENTRY_ERRORS:
        completed = [StreamEntry(entry.entry_id, complete(entry.raw)) for entry in readable]
        failures |= _bisect_insert(completed)
    return counts, failures


def _bisect_insert(batch: Sequence[StreamEntry]) -> dict[bytes, Exception]:
    """Insert all at once, or by halves down to the single predictions that Postgres rejects; returns their errors.

    The other predictions of such an entry may be those of another caller, and are stored.
    """
    try:
        _insert(b"".join(entry.raw for entry in batch))
    except _ENTRY_ERRORS as error:
        if len(batch) > 1:
            middle = len(batch) // 2
            return _bisect_insert(batch[:middle]) | _bisect_insert(batch[middle:])
        ((entry_id, raw),) = batch
        lines = raw.split(b"\n")[:-1]
        if len(lines) == 1:
            return {entry_id: error}
        return _bisect_insert([StreamEntry(entry_id, line + b"\n") for line in lines])
    return {}


def _insert(lines: bytes) -> None:
    table, columns = Prediction._meta.db_table, ", ".join(COLUMNS)
    with transaction.atomic():
        try:
            with transaction.atomic():
                copy_lines(table, COLUMNS, lines)
                inserted = [_labels(line) for line in lines.splitlines()]
        except IntegrityError:
            # Some rows are there already, for example from a drainer that was killed. A temporary table takes twice as
            # long, so it is used only then.
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE TEMP TABLE drained (LIKE {table} INCLUDING DEFAULTS) ON COMMIT DROP")
                copy_lines("drained", COLUMNS, lines)
                cursor.execute(
                    f"INSERT INTO {table} ({columns}) SELECT {columns} FROM drained ORDER BY id ON CONFLICT DO NOTHING"  # noqa: S608 - names of tables and columns are the code's own
                    f" RETURNING {', '.join(counts.Labels._fields)}"
                )
                inserted = [counts.Labels(*row) for row in cursor.fetchall()]
                # Another batch may follow in this transaction.
                cursor.execute("DROP TABLE drained")
        counts.add(Counter(inserted))


def _labels(line: bytes) -> counts.Labels:
    try:
        entry = decode(line)
    except msgspec.DecodeError as error:
        message = f"it is no prediction: {error}"
        raise ValueError(message) from error
    return counts.Labels(entry.model_version, entry.predicted, entry.source)
