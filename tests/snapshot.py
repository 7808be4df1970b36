"""A database and Redis as they were, to start many tests from without training many models."""

import io
from dataclasses import dataclass
from typing import Self

from django.apps import apps
from django.core.management.color import no_style
from django.db import connection

from ingestion.models import Passenger
from titanic_site.lib import redis


@dataclass(frozen=True)
class Snapshot:
    """Rows by table and values by key."""

    rows: dict[str, str]
    keys: dict[bytes, bytes]
    partitions: dict[str, str]

    @classmethod
    def take(cls) -> Self:
        """What is there now."""
        rows = {}
        with connection.cursor() as cursor:
            for table in connection.introspection.django_table_names(only_existing=True):
                text = io.StringIO()
                cursor.copy_expert(f'COPY (SELECT * FROM "{table}") TO STDOUT', text)
                rows[table] = text.getvalue()
            cursor.execute(
                "SELECT oid::regclass::text, pg_get_expr(relpartbound, oid) FROM pg_class"
                " WHERE oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = %s::regclass)",
                [Passenger._meta.db_table],
            )
            partitions = dict(cursor.fetchall())
        client = redis.client()
        return cls(rows, {key: client.dump(key) for key in client.keys("features:*")}, partitions)

    def restore(self) -> None:
        """Put it back into an emptied database, and into Redis."""
        with connection.cursor() as cursor:
            for name, bound in self.partitions.items():
                cursor.execute(f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF {Passenger._meta.db_table} {bound}")
            cursor.execute("SET session_replication_role = replica")
            for table in self.rows:
                cursor.execute(f'TRUNCATE "{table}" CASCADE')
            for table, text in self.rows.items():
                cursor.copy_expert(f'COPY "{table}" FROM STDIN', io.StringIO(text))
            cursor.execute("SET session_replication_role = DEFAULT")
            for statement in connection.ops.sequence_reset_sql(no_style(), apps.get_models()):
                cursor.execute(statement)
        for key, value in self.keys.items():
            redis.client().restore(key, 0, value, replace=True)
