"""The clock: schedules are rows in the database, and of all beats running exactly one sends what is due."""

import logging
from typing import Any

from django.db import DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django_celery_beat.schedulers import DatabaseScheduler

from core.advisory_locks import AdvisoryLock

logger = logging.getLogger(__name__)


class SoleScheduler(DatabaseScheduler):
    """Ticks while it holds a lock that belongs to its own database session, and stands by otherwise.

    The lock goes with the session, whatever ends it: there is nothing to expire and nothing to clean up.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._session: BaseDatabaseWrapper | None = None
        self._is_sole = False
        # Who takes over reads from the rows what has been sent: write it down at once.
        super().__init__(*args, sync_every_tasks=1, **kwargs)

    def setup_schedule(self) -> None:
        """Nothing: bootstrap makes the schedules, and a beat may start before its database."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due if this is the one; returns the seconds until the next look."""
        if not self._holds_lock():
            return float(self.max_interval)
        try:
            return float(super().tick(*args, **kwargs))
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The schedules cannot be read: %s", error)
            self._forget()
            return float(self.max_interval)

    def close(self) -> None:
        """Write down what was sent, then let the next one have the lock."""
        if self._is_sole:
            super().close()
        self._end_session()

    def _holds_lock(self) -> bool:
        was_sole = self._is_sole
        try:
            self._is_sole = self._take_lock()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The clock's lock cannot be asked for: %s", error)
            self._end_session()
            return False
        if self._is_sole and not was_sole:
            self._forget()
        if self._is_sole != was_sole:
            logger.info("This beat is %s", "the one that sends" if self._is_sole else "standing by")
        return self._is_sole

    def _take_lock(self) -> bool:
        """Take the lock, or prove that it is still ours: a session may take its own lock again."""
        if self._session is None:
            self._session = connections.create_connection("default")
        with self._session.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [AdvisoryLock.SCHEDULER.value])
            return bool(cursor.fetchone()[0])

    def _end_session(self) -> None:
        self._is_sole = False
        if self._session is not None:
            self._session.close()
            self._session = None

    def _forget(self) -> None:
        """Read every schedule anew at the next tick."""
        self._initial_read = True
        self._heap = None
