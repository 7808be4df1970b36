"""The services that a test leans on, for a while not to be had."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


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
