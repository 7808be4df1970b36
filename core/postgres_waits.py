"""Bound what a process waits for PostgreSQL: a frozen server lets no time-out of its own or of TCP expire."""

import select
import time
from contextlib import closing

import psycopg2
from django.db import connections
from psycopg2.extensions import POLL_OK, POLL_READ, connection, set_wait_callback

from core.circuit_breaker import CircuitBreaker

#: After so long (seconds) without a byte from the server a probe finds out whether it answers at all.
SILENCE_SECONDS = 1.0
#: How long (seconds) a probe waits for each of its two answers.
PROBE_SECONDS = 1.0
#: What one statement may take (seconds); then it is cancelled, before the client gives up.
STATEMENT_SECONDS = 50.0


def install() -> None:
    """Bound all waits of this process: web processes and the scheduler. COPY does not work in it from then on."""
    set_wait_callback(wait)


def wait(raw: connection) -> None:
    """Wait until a connection has done what it was asked for; raises OperationalError when the server is silent.

    A statement may take long while the server answers a probe, on a connection of its own: PgBouncer alone is no
    answer. Cancelling takes a connection too, which no setting in a session would, and works through PgBouncer.
    """
    if breaker.is_open:
        raise _silent()
    began = time.monotonic()
    while not _is_done(raw, SILENCE_SECONDS):
        if not breaker.is_answering():
            raise _silent()
        if time.monotonic() - began > STATEMENT_SECONDS:
            raw.cancel()


def _is_done(raw: connection, seconds: float) -> bool:
    """Go on with what the connection does; return False as soon as nothing has come for so many seconds."""
    while (state := raw.poll()) != POLL_OK:
        poller = select.poll()
        poller.register(raw.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        if not poller.poll(seconds * 1000):
            return False
    return True


def _probe() -> bool:
    """Tell whether a new connection gets an answer to a query, or any error, in time."""
    try:
        # The wait callback does not see an asynchronous connection.
        with closing(psycopg2.connect(**connections["default"].get_connection_params(), async_=True)) as raw:
            if not _is_done(raw, PROBE_SECONDS):
                return False
            with raw.cursor() as cursor:
                cursor.execute("SELECT 1")
                return _is_done(raw, PROBE_SECONDS)
    except psycopg2.Error:
        return True


def _silent() -> psycopg2.OperationalError:
    return psycopg2.OperationalError("PostgreSQL does not answer.")


breaker = CircuitBreaker("PostgreSQL", probe=_probe)
