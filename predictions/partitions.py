"""The prediction log's months: each is a partition of one table, made ahead, and dropped when it is too old.

The key is a time-ordered UUID, so a month is a range of ids and the key stays the id alone: an entry that is delivered
again, at midnight too, meets its row in the same partition. What no month takes waits in the default partition.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from core.advisory_locks import AdvisoryLock, lock
from predictions.models import Prediction, lowest_id

#: How many months are made ahead of the present one.
AHEAD = 2
_TABLE = Prediction._meta.db_table
_DEFAULT = f"{_TABLE}_default"
# Making and dropping wait for running questions, and hold up those that come after: better tomorrow than for long.
_LONGEST_WAIT = "5s"
_MILLISECONDS_AT = 80


def maintain() -> None:
    """Make the months to come, bring home what landed outside, drop what is older than the installation keeps."""
    create_upcoming()
    if settings.PREDICTIONS_KEPT_MONTHS is not None:
        drop_old(keep=settings.PREDICTIONS_KEPT_MONTHS)


def create_upcoming(now: datetime | None = None) -> None:
    """Have a partition for this month, the next ones, and each month of which rows wait in the default partition."""
    this_month = _month_of(now or timezone.now())
    for month in (_later(this_month, number) for number in range(AHEAD + 1)):
        _make(month)
    for month in _strays(until=_later(this_month, AHEAD + 1)):
        _make(month)


def drop_old(*, keep: int, now: datetime | None = None) -> list[str]:
    """Drop what lies before this month and the `keep` before it; returns the partitions that went."""
    first_kept = _later(_month_of(now or timezone.now()), -keep)
    old = [name for name in names() if name < _name_of(first_kept)]
    for name in old:
        with transaction.atomic(), connection.cursor() as cursor:
            _begin(cursor)
            cursor.execute(f"DROP TABLE {name}")
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {_DEFAULT} WHERE id < %s", [lowest_id(first_kept)])
    return old


def names() -> list[str]:
    """The months' tables, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass ORDER BY 1", [_TABLE]
        )
        return [name for (name,) in cursor.fetchall() if name != _DEFAULT]


def _make(month: datetime) -> None:
    name, bounds = _name_of(month), [lowest_id(month), lowest_id(_later(month, 1))]
    with transaction.atomic(), connection.cursor() as cursor:
        _begin(cursor)
        if name in names():
            return
        cursor.execute(f"CREATE TABLE {name} (LIKE {_TABLE} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
        # Nobody may write a row of the month into the default partition between the two statements.
        cursor.execute(f"LOCK TABLE {_DEFAULT} IN ACCESS EXCLUSIVE MODE")
        cursor.execute(
            f"WITH strays AS (DELETE FROM {_DEFAULT} WHERE id >= %s AND id < %s RETURNING *)"
            f" INSERT INTO {name} SELECT * FROM strays",
            bounds,
        )
        cursor.execute(f"ALTER TABLE {_TABLE} ATTACH PARTITION {name} FOR VALUES FROM (%s) TO (%s)", bounds)


def _begin(cursor: CursorWrapper) -> None:
    cursor.execute(f"SET LOCAL lock_timeout = '{_LONGEST_WAIT}'")
    lock(AdvisoryLock.LOG_PARTITIONS)


def _strays(*, until: datetime) -> Iterator[datetime]:
    """The months of which the default partition holds rows, oldest first."""
    month = datetime.min.replace(year=1970, tzinfo=UTC)
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT id FROM {_DEFAULT} WHERE id >= %s AND id < %s ORDER BY id LIMIT 1",
                [lowest_id(month), lowest_id(until)],
            )
            found = cursor.fetchone()
        if found is None:
            return
        month = _month_of(_moment_of(found[0]))
        yield month
        month = _later(month, 1)


def _moment_of(prediction_id: UUID) -> datetime:
    return datetime.fromtimestamp((prediction_id.int >> _MILLISECONDS_AT) / 1000, tz=UTC)


def _month_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _later(month: datetime, count: int) -> datetime:
    years, index = divmod(month.month - 1 + count, 12)
    return month.replace(year=month.year + years, month=index + 1)


def _name_of(month: datetime) -> str:
    return f"{_TABLE}_{month:%Y_%m}"
