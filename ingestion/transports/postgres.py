"""A table or a query of another PostgreSQL database, as CSV: read only, for a limited time, and never our own."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import IO

import psycopg2
from django.conf import settings
from django.db import ProgrammingError, connection
from psycopg2 import errors, extensions, sql

from core.messages import Message as _
from ingestion.transports.transfer import BoundedWriter, RemoteObject, ReportProgress, SourceError

CONNECT_SECONDS = 10
#: Within the time limit of the queue that loads tables, which gives no reason.
STATEMENT_SECONDS = 600
# Which database it is, whatever host, port, proxy or socket leads there. The identifier is the cluster's since initdb,
# and that of its replicas; the names are qualified, since the address may set another search_path.
_IDENTITY = "SELECT system_identifier, pg_catalog.current_database() FROM pg_catalog.pg_control_system()"
_TABLE = re.compile(r"[\w$-]+(\.[\w$.-]+)?")
_QUERY = re.compile(r"(select|with)\s[^;]+", re.IGNORECASE)


def check(uri: str, *, any_file: bool) -> str:
    """Return the address; raises SourceError unless it has one table or one query behind the #."""
    dsn, _hash, query = uri.partition("#")
    _parameters(dsn)
    _query(query)
    return uri


def stat(uri: str) -> list[RemoteObject]:
    """Plan the query without running it; a database has no version."""
    dsn, _hash, query = uri.partition("#")
    with _cursor(dsn) as cursor:
        cursor.execute(sql.SQL("EXPLAIN SELECT * FROM (\n{}\n) AS source").format(_query(query)))
    return [RemoteObject(uri, "", None)]


def fetch(remote: RemoteObject, target: IO[bytes], *, report: ReportProgress) -> str:
    """COPY the rows of one snapshot into the file."""
    dsn, _hash, query = remote.uri.partition("#")
    writer = BoundedWriter(target, report, uri=_location(_parameters(dsn)))
    with _cursor(dsn) as cursor:
        cursor.copy_expert(sql.SQL("COPY (\n{}\n) TO STDOUT (FORMAT csv, HEADER)").format(_query(query)), writer)
    writer.finish()
    return ""


def _query(query: str) -> sql.Composable:
    """Compose the one query, or SELECT * of the one table; raises SourceError for anything else."""
    query = query.strip().removesuffix(";").rstrip()
    if _TABLE.fullmatch(query):
        return sql.SQL("SELECT * FROM {}").format(sql.Identifier(*query.split(".", 1)))
    if _QUERY.fullmatch(query) and "\0" not in query:
        return sql.SQL(query)
    message = _(
        "Name one table, or one SELECT without a semicolon, behind the #, as in "
        "postgresql://user:password@host/database#schema.table."
    )
    raise SourceError(message)


def _parameters(dsn: str) -> dict[str, str]:
    """Parse the address. It is never quoted in a message: a wrong one may show half of its password."""
    try:
        parameters = dict(extensions.parse_dsn(dsn))
        ports = [int(port) for port in parameters.get("port", "").split(",") if port]
    except (psycopg2.Error, ValueError):
        ports = [-1]
    if min(ports, default=1) < 1:
        message = _(
            "The database's address cannot be read: write it as postgresql://user:password@host:5432/database#table, "
            "special characters percent-encoded."
        )
        raise SourceError(message)
    return parameters


def _location(parameters: dict[str, str]) -> str:
    return f"{parameters.get('host', 'localhost')}/{parameters.get('dbname', '')}"


@contextmanager
def _cursor(dsn: str) -> Iterator[extensions.cursor]:
    """Open a cursor in a read-only transaction on one snapshot of a database that is not our own."""
    parameters = _parameters(dsn)
    try:
        database = psycopg2.connect(
            dsn,
            connect_timeout=CONNECT_SECONDS,
            client_encoding="UTF8",
            application_name="titanic-mlops",
            # A server that disappears is noticed after a minute.
            keepalives=1,
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=3,
        )
    except psycopg2.Error as error:
        # libpq has no code here; what the server itself answers has this word in every language.
        if "FATAL" in str(error):
            message = _("The database %(place)s rejects the login: %(reason)s. Check user, password and database name.")
        else:
            message = _("The database %(place)s cannot be reached: %(reason)s. Check host and port.")
        reason = _reason(error, parameters)
        raise SourceError(message % {"place": _location(parameters), "reason": reason}) from error
    with closing(database):
        try:
            database.set_session(isolation_level="REPEATABLE READ", readonly=True)
            with database.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = %s", [STATEMENT_SECONDS * 1000])
                _refuse_own(cursor, place=_location(parameters))
                yield cursor
        except psycopg2.Error as error:
            raise _query_error(error, parameters) from error


def _refuse_own(cursor: extensions.cursor, *, place: str) -> None:
    """Raise SourceError when the session is in our own database: of an embedded cluster every database is our own."""
    try:
        cursor.execute(_IDENTITY)
        with connection.cursor() as own_cursor:
            own_cursor.execute(_IDENTITY)
            [(own_cluster, own_name)] = own_cursor.fetchall()
    except (errors.UndefinedFunction, errors.InsufficientPrivilege, ProgrammingError) as error:
        message = _(
            "Whether %(place)s is this product's own database cannot be told: %(reason)s. Grant EXECUTE on "
            "pg_control_system() to the user here and there."
        )
        raise SourceError(message % {"place": place, "reason": str(error).partition("\n")[0]}) from error
    [(cluster, name)] = cursor.fetchall()
    if cluster == own_cluster and (settings.IS_EMBEDDED or name == own_name):
        message = _("%(place)s is this product's own database, which is no source. Name another one.")
        raise SourceError(message % {"place": place})


def _query_error(error: psycopg2.Error, parameters: dict[str, str]) -> SourceError:
    if isinstance(error, errors.UndefinedTable):
        message = _("The database %(place)s has no such table: %(reason)s. Check schema and name.")
    elif isinstance(error, errors.InsufficientPrivilege):
        message = _("The database %(place)s denies access to its user: %(reason)s. Grant SELECT.")
    elif isinstance(error, errors.QueryCanceled):
        message = _("The database %(place)s took too long: %(reason)s. Ask for less.")
    elif error.pgcode is None:
        message = _("The connection to the database %(place)s broke off: %(reason)s. Try again.")
    else:
        message = _("The database %(place)s rejects the query: %(reason)s. Correct it.")
    return SourceError(message % {"place": _location(parameters), "reason": _reason(error, parameters)})


def _reason(error: psycopg2.Error, parameters: dict[str, str]) -> str:
    message = error.diag.message_primary or str(error)
    reason = message.strip().partition("\n")[0].rpartition("FATAL:")[2].strip()[:300].rstrip(".")
    password = parameters.get("password")
    return reason.replace(password, "…") if password else reason
