"""The test run's own home, Postgres and Valkey: fresh, and never the user's. Loaded before Django's settings are.

Each of xdist's workers has all of it for itself.
"""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from psycopg2.extensions import cursor

    from titanic_site.runtime import embedded

HOME = Path(tempfile.mkdtemp(prefix="titanic-test-"))
os.environ.update(
    TITANIC_HOME=str(HOME),
    DATABASE_URL="",
    REDIS_URL="",
    SOURCE_URI="",
    LOGIN_REQUIRED="false",
    API_ALLOW_ANONYMOUS="",
    THROTTLE_PREDICT="",
    THROTTLE_ANON="off",
    DRIFT_BACKEND="scipy",
    ALERT_WEBHOOK_URL="",
    ALERT_WEBHOOK_SECRET="",
    ALERT_EMAILS="",
    SITE_URL="",
    EMAIL_URL="",
    LOG_FORMAT="",
    DEBUG="",
    ADMIN_PASSWORD="",
    ALLOWED_HOSTS="testserver,127.0.0.1,localhost",
    # Every core has a worker already.
    OMP_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
    # Playwright's event loop runs in the test's thread.
    DJANGO_ALLOW_ASYNC_UNSAFE="1",
)


@pytest.fixture(scope="session", autouse=True)
def _services() -> Iterator[None]:
    """Start the servers before the first test, which xdist's controller never comes to; stop them after the last."""
    from titanic_site.runtime import embedded

    with embedded.in_use(embedded.Layout(HOME)) as services:
        _forget_the_disk(services)
        yield


def _forget_the_disk(services: "embedded.Services") -> None:
    """Let neither server wait for the disk: what they hold ends with the run."""
    import redis

    with superuser() as cursor:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            cursor.execute(f"ALTER SYSTEM SET {name} = off")
        cursor.execute("SELECT pg_reload_conf()")
        # Django makes a database for the tests, and `tests.snapshot` fills tables in any order.
        cursor.execute("ALTER ROLE titanic CREATEDB")
        cursor.execute("GRANT SET ON PARAMETER session_replication_role TO titanic")
    with redis.Redis(unix_socket_path=str(services.valkey.socket)) as client:
        client.config_set("appendonly", "no")


@contextmanager
def superuser(*, database: str = "titanic") -> "Iterator[cursor]":
    """Open a session that the product never has: nobody signs in as the superuser of its PostgreSQL."""
    import psycopg2

    data = HOME / "postgres/data"
    rules = data / "pg_hba.conf"
    if "superuser" not in rules.read_text():
        rules.write_text(f"{rules.read_text()}local all superuser trust\n")
        os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGHUP)
    end = time.monotonic() + 10
    while True:
        try:
            session = psycopg2.connect(host=str(HOME / "postgres"), user="superuser", dbname=database)
            break
        except psycopg2.OperationalError:
            # The server has not read the rules yet.
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
    session.autocommit = True
    with closing(session), session.cursor() as opened:
        yield opened


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    shutil.rmtree(HOME, ignore_errors=True)
