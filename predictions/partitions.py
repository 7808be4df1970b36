"""The prediction log's partitions: one a month, created ahead, and dropped when it is too old.

The key is a time-ordered UUID, so a month is a range of ids and the key stays the id alone: an entry that is delivered
again, at midnight too, meets its row in the same partition. Rows of other months wait in the default partition.
"""

from datetime import UTC, datetime

from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from core.advisory_locks import AdvisoryLock, lock
from predictions.models import Prediction, lowest_id, made_at

#: How many months are created ahead of the present one.
MONTHS_AHEAD = 2
_TABLE = Prediction._meta.db_table
_DEFAULT = f"{_TABLE}_default"
# Creating and dropping wait for running queries and hold up later ones: better to fail and try again tomorrow.
_LOCK_TIMEOUT = "5s"


def maintain() -> None:
    """Create the coming months, move rows out of the default partition, drop months older than what is kept."""
    create_upcoming()
    if settings.PREDICTIONS_KEPT_MONTHS is not None:
        drop_old(keep=settings.PREDICTIONS_KEPT_MONTHS)


def create_upcoming(now: datetime | None = None) -> None:
    """Create partitions for this month, the next ones, and each month of which the default partition holds rows."""
    this_month = _month_of(now or timezone.now())
    for number in range(MONTHS_AHEAD + 1):
        _create(_add_months(this_month, number))
    end = lowest_id(_add_months(this_month, MONTHS_AHEAD + 1))
    while True:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT id FROM {_DEFAULT} WHERE id < %s ORDER BY id LIMIT 1", [end])  # noqa: S608 - names of tables and columns are the code's own
            oldest = cursor.fetchone()
        if oldest is None:
            return
        # A month that has its partition has no rows in the default one.
        _create(_month_of(made_at(*oldest)))


def drop_old(*, keep: int, now: datetime | None = None) -> list[str]:
    """Drop what lies before this month and the `keep` before it; returns the partitions that were dropped."""
    oldest = _add_months(_month_of(now or timezone.now()), -keep)
    old = [name for name in names() if name < _name_of(oldest)]
    for name in old:
        with transaction.atomic(), connection.cursor() as cursor:
            _lock(cursor)
            cursor.execute(f"DROP TABLE {name}")
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {_DEFAULT} WHERE id < %s", [lowest_id(oldest)])  # noqa: S608 - names of tables and columns are the code's own
    return old


def names() -> list[str]:
    """List the months' tables, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass ORDER BY 1", [_TABLE]
        )
        return [name for (name,) in cursor.fetchall() if name != _DEFAULT]


def _create(month: datetime) -> None:
    name, bounds = _name_of(month), [lowest_id(month), lowest_id(_add_months(month, 1))]
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(cursor)
        if name in names():
            return
        cursor.execute(f"CREATE TABLE {name} (LIKE {_TABLE} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
        # No row of the month may be written to the default partition between the two statements.
        cursor.execute(f"LOCK TABLE {_DEFAULT} IN ACCESS EXCLUSIVE MODE")
        cursor.execute(
            f"WITH moved AS (DELETE FROM {_DEFAULT} WHERE id >= %s AND id < %s RETURNING *)"  # noqa: S608 - names of tables and columns are the code's own
            f" INSERT INTO {name} SELECT * FROM moved",
            bounds,
        )
        cursor.execute(f"ALTER TABLE {_TABLE} ATTACH PARTITION {name} FOR VALUES FROM (%s) TO (%s)", bounds)


def _lock(cursor: CursorWrapper) -> None:
    cursor.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
    lock(AdvisoryLock.LOG_PARTITIONS)


def _month_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _add_months(month: datetime, count: int) -> datetime:
    years, index = divmod(month.month - 1 + count, 12)
    return month.replace(year=month.year + years, month=index + 1)


def _name_of(month: datetime) -> str:
    return f"{_TABLE}_{month:%Y_%m}"
