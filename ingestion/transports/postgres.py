"""A table or a query of another PostgreSQL database, as CSV. Operators only: the address carries a password."""

import re
from collections.abc import Callable
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import psycopg2
from django.utils.translation import gettext as _
from psycopg2 import sql

from ingestion.transports.errors import SourceError
from ingestion.transports.found import Found, Report

CONNECT_SECONDS = 10
STATEMENT_SECONDS = 3600
_TABLE = re.compile(r"\w+(\.\w+)?")
_QUERY = re.compile(r"(select|with)\s", re.IGNORECASE)


def check(uri: str, *, is_operator: bool) -> None:
    """Refuse all but an operator's address with one table or one query behind the #."""
    if not is_operator:
        message = _("A database can only be named in the admin or at the shell, as its address carries a password.")
        raise SourceError(message, field="uri")
    asked = _asked(uri)
    is_query = _QUERY.match(asked) and ";" not in asked
    if "\0" in uri or not (_TABLE.fullmatch(asked) or is_query):
        message = _(
            "Name one table or one SELECT without a semicolon behind the #, as in "
            "postgresql://user:password@host/database#schema.table."
        )
        raise SourceError(message, field="uri")


def look(uri: str, *, is_operator: bool) -> list[Found]:
    """The table; a database tells no version, so that its content has to decide."""
    return [Found(uri, "", None)]


def fetch(found: Found, into: IO[bytes], *, report: Report, is_operator: bool) -> str:
    """COPY the table or the query's rows, of one moment, into the file."""
    place, _hash, _asked_for = found.uri.partition("#")
    try:
        database = psycopg2.connect(place, connect_timeout=CONNECT_SECONDS, application_name="titanic-mlops")
    except psycopg2.Error as error:
        raise _explained(error) from error
    try:
        database.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with database.cursor() as cursor:
            cursor.execute("SET statement_timeout = %s", [STATEMENT_SECONDS * 1000])
            query = _query(_asked(found.uri))
            # What stands here is a query in parentheses, and cannot lead out of those that COPY puts around it.
            cursor.execute(sql.SQL("EXPLAIN SELECT * FROM (\n{}\n) AS asked").format(query))
            statement = sql.SQL("COPY (\n{}\n) TO STDOUT WITH (FORMAT csv, HEADER)").format(query)
            cursor.copy_expert(statement, _Reporting(into, report))
    except psycopg2.Error as error:
        raise _explained(error) from error
    finally:
        database.close()
    return ""


def _asked(uri: str) -> str:
    try:
        return unquote(urlsplit(uri).fragment).strip()
    except ValueError:
        return ""


def _query(asked: str) -> sql.Composable:
    if _TABLE.fullmatch(asked):
        return sql.SQL("SELECT * FROM {}").format(sql.Identifier(*asked.split(".")))
    return sql.SQL(asked)


class _Reporting:
    """Writes into a file and tells how far it is."""

    def __init__(self, file: IO[bytes], report: Report) -> None:
        self._file = file
        self._report: Callable[[int], None] = report

    def write(self, block: bytes) -> Any:
        """Called by the driver for each row."""
        self._file.write(block)
        self._report(self._file.tell())


def _explained(error: psycopg2.Error) -> SourceError:
    reason = str(error).strip().partition("\n")[0][:300].rstrip(".")
    message = _("The database cannot be read: %(reason)s. Check the address and the rights of its user.")
    return SourceError(message % {"reason": reason}, field="uri")
