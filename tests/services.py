"""The services that a test leans on, for a while not to be had."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from core import redis


@contextmanager
def postgres_away() -> Iterator[None]:
    """Nothing listens where this thread asks for the database."""
    there = {name: connection.settings_dict[name] for name in ("HOST", "PORT")}
    connection.close()
    connection.settings_dict.update(HOST="127.0.0.1", PORT="1")
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(there)


@contextmanager
def table_away() -> Iterator[None]:
    """The table takes no prediction."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE predictions_prediction ADD CONSTRAINT away CHECK (false) NOT VALID")
        try:
            yield
        finally:
            cursor.execute("ALTER TABLE predictions_prediction DROP CONSTRAINT away")


@contextmanager
def log_away() -> Iterator[None]:
    """Nor does the stream: it reads and does not write, as with a full disk."""
    with table_away():
        redis.client().config_set("min-replicas-to-write", 1)
        try:
            yield
        finally:
            redis.client().config_set("min-replicas-to-write", 0)
