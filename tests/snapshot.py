"""A database, Redis and stored files as they were: many tests begin from what one training left."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from django.apps import apps
from django.conf import settings
from django.core.management.color import no_style
from django.db import connection
from django.db.backends.utils import CursorWrapper

from core import redis
from ingestion.models import Passenger

_PASSENGERS = Passenger._meta.db_table


@dataclass(frozen=True)
class Snapshot:
    """Rows by table, bounds by partition of the passengers, values by key in Redis, contents by file."""

    rows: dict[str, bytes]
    partitions: dict[str, str]
    keys: dict[bytes, bytes]
    files: dict[str, bytes]

    @classmethod
    def take(cls) -> Self:
        """What is there now."""
        client = redis.client()
        with connection.cursor() as cursor:
            return cls(
                rows={table: _copied(cursor, table) for table in _filled(cursor)},
                partitions=_partitions(cursor),
                keys={key: client.dump(key) for key in client.keys("features:*")},  # type: ignore[misc]
                files={str(path.relative_to(settings.HOME)): path.read_bytes() for path in _files()},
            )

    def add(self, *, to: "Snapshot") -> None:
        """Add the rows that the other one lacks, and the keys, within the caller's transaction if there is one."""
        changed = {table: text for table, text in self.rows.items() if to.rows.get(table) != text}
        with connection.cursor() as cursor:
            for name, bound in self.partitions.items():
                cursor.execute(f"CREATE TABLE {name} PARTITION OF {_PASSENGERS} {bound}")
            _fill(cursor, changed, emptied=to.rows.keys())
        client = redis.client()
        for key, value in self.keys.items():
            client.restore(key, 0, value, replace=True)

    def put_back(self) -> None:
        """Make the committed database what it was, but for its sequences: no test sees a number twice."""
        with connection.cursor() as cursor:
            for name in _partitions(cursor).keys() - self.partitions.keys():
                cursor.execute(f"DROP TABLE {name}")
            filled = _filled(cursor)
            if filled:
                cursor.execute(f"TRUNCATE {', '.join(filled)} CASCADE")
            _fill(cursor, self.rows, emptied=())

    def write_files(self) -> None:
        """Write the files into this home."""
        for name, content in self.files.items():
            path = settings.HOME / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def advance_sequences(self) -> None:
        """Let every sequence go on behind the rows that are there now."""
        with connection.cursor() as cursor:
            for statement in connection.ops.sequence_reset_sql(no_style(), apps.get_models()):
                cursor.execute(statement)


def _filled(cursor: CursorWrapper) -> list[str]:
    """Tables with rows."""
    tables = connection.introspection.django_table_names(only_existing=True)
    cursor.execute(
        " UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {table})" for table in sorted(tables))
    )
    return [table for (table,) in cursor.fetchall()]


def _copied(cursor: CursorWrapper, table: str) -> bytes:
    text = io.BytesIO()
    cursor.copy_expert(f"COPY (SELECT * FROM {table}) TO STDOUT", text)
    return text.getvalue()


def _fill(cursor: CursorWrapper, rows: dict[str, bytes], *, emptied: Iterable[str]) -> None:
    # Rows come in the tables' order, not in that of their foreign keys.
    cursor.execute("SET session_replication_role = replica")
    for table, text in rows.items():
        if table in emptied:
            cursor.execute(f"DELETE FROM {table}")
        cursor.copy_expert(f"COPY {table} FROM STDIN", io.BytesIO(text))
    cursor.execute("SET session_replication_role = DEFAULT")


def _partitions(cursor: CursorWrapper) -> dict[str, str]:
    cursor.execute(
        "SELECT oid::regclass::text, pg_get_expr(relpartbound, oid) FROM pg_class"
        " WHERE oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = %s::regclass)",
        [_PASSENGERS],
    )
    return dict(cursor.fetchall())


def _files() -> list[Path]:
    return [path for path in (*settings.MEDIA_ROOT.rglob("*"), settings.HOME / "credentials.json") if path.is_file()]
