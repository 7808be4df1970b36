"""COPY into PostgreSQL: rows of values at once, or CSV piece by piece while the next piece is being made."""

import csv
import io
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

import msgspec
from django.db import connection
from psycopg2.extensions import get_wait_callback
from psycopg2.extras import execute_values

# Rows as JSON writes them, as a dialect of CSV.
_AS_JSON = r", ESCAPE '\', NULL 'null'"
_encode_lines = msgspec.json.Encoder().encode_lines
_decode_lines = msgspec.json.Decoder().decode_lines


def copy_rows(table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """COPY rows of Python values into a table, None as NULL, within the caller's transaction.

    No text may be empty: CSV and the JSON dialect read it differently.
    """
    # JSON takes a fifth of the time of the csv module.
    copy_lines(table, columns, _encode_lines(rows))


def copy_lines(table: str, columns: Sequence[str], lines: bytes) -> None:
    """COPY rows that are JSON already, an array on each line, as msgspec writes them; raises ValueError.

    In a process that bounds its waits (`postgres_waits`) they are inserted: libpq's COPY blocks.
    """
    if get_wait_callback() is not None:
        insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES %s"  # noqa: S608 - names of tables and columns are the code's own
        rows = _decode_lines(lines)
        if any(len(row) != len(columns) for row in rows):
            message = f"each line must have {len(columns)} values"
            raise ValueError(message)
        with connection.cursor() as cursor, connection.wrap_database_errors:
            execute_values(cursor, insert, rows, page_size=1000)
        return
    # CSV knows an escaped quote and no other letter that JSON escapes.
    if lines.count(b"\\") != lines.count(b'\\"'):
        copied = _copy(_statement(table, columns), to_csv(_decode_lines(lines)))
    else:
        copied = _copy(_statement(table, columns, dialect=_AS_JSON), lines[1:-2].replace(b"]\n[", b"\n"))
    line_count = lines.count(b"\n")
    if copied != line_count:
        # A quote that is not closed joins the next line to its own.
        message = f"{copied} rows were read in {line_count} lines"
        raise ValueError(message)


def copy_csv(table: str, columns: Sequence[str], text: bytes) -> None:
    """COPY CSV text, an empty cell as NULL."""
    _copy(_statement(table, columns), text)


def _copy(statement: str, text: bytes) -> int:
    """Run the statement and return how many rows were copied."""
    with connection.cursor() as cursor, connection.wrap_database_errors:
        cursor.copy_expert(statement, io.BytesIO(text))
        return int(cursor.rowcount)


def to_csv(rows: Iterable[Iterable[object]]) -> bytes:
    """Encode rows as the CSV that COPY reads."""
    text = io.StringIO()
    # With both in the line's end, a cell with either is quoted.
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


class Copier:
    """Copies pieces of CSV in order, in the caller's transaction, while the caller makes the next one.

    The connection is used by one thread at a time: call `wait` before using it for anything else.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="copy")
        self._pending: Future[None] | None = None

    def __enter__(self) -> Self:
        connection.ensure_connection()
        self._raw = connection.connection
        return self

    def __exit__(self, *exc: object) -> None:
        self._thread.shutdown()

    def copy(self, table: str, columns: Sequence[str], piece: bytes, *, never_null: Sequence[str] = ()) -> None:
        """Send a piece as soon as the one before is in: two are in memory at most.

        An empty cell is NULL, but for the columns that are `never_null`.
        """
        self.wait()
        self._pending = self._thread.submit(self._copy, _statement(table, columns, never_null), piece)

    def wait(self) -> None:
        """Return when everything is in; raises what went wrong as Django's errors."""
        pending, self._pending = self._pending, None
        if pending is not None:
            with connection.wrap_database_errors:
                pending.result()

    def _copy(self, statement: str, piece: bytes) -> None:
        with self._raw.cursor() as cursor:
            cursor.copy_expert(statement, io.BytesIO(piece))


def _statement(table: str, columns: Sequence[str], never_null: Sequence[str] = (), *, dialect: str = "") -> str:
    not_null = f", FORCE_NOT_NULL ({', '.join(never_null)})" if never_null else ""
    return f"COPY {table} ({', '.join(columns)}) FROM STDIN WITH (FORMAT csv{not_null}{dialect})"
