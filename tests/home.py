"""The test run's own home, Postgres and Valkey: fresh, and never the user's. Loaded before Django's settings are."""

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

HOME = Path(tempfile.mkdtemp(prefix="titanic-test-"))
os.environ.update(
    TITANIC_HOME=str(HOME),
    DATABASE_URL="",
    REDIS_URL="",
    SOURCE_URI="",
    LOGIN_REQUIRED="false",
    API_ALLOW_ANONYMOUS="",
    THROTTLE_PREDICT="",
    THROTTLE_ANON="",
    DRIFT_BACKEND="scipy",
    ALERT_WEBHOOK_URL="",
    EMAIL_URL="",
    LOG_FORMAT="",
    DEBUG="",
    ADMIN_PASSWORD="",
    ALLOWED_HOSTS="testserver,127.0.0.1,localhost",
    # Playwright's event loop runs in the test's thread.
    DJANGO_ALLOW_ASYNC_UNSAFE="1",
)

_services = ExitStack()


def pytest_sessionstart() -> None:
    """Start the servers."""
    from titanic_site import embedded

    _services.enter_context(embedded.in_use(embedded.Layout(HOME)))


def pytest_unconfigure() -> None:
    """Stop them, leave nothing behind."""
    _services.close()
    shutil.rmtree(HOME, ignore_errors=True)
