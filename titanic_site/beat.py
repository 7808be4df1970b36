"""The scheduler (Celery beat): schedules are rows, and of all schedulers exactly one sends what is due."""

import logging

from django.db import DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django_celery_beat.schedulers import DatabaseScheduler

from core.advisory_locks import AdvisoryLock

logger = logging.getLogger(__name__)


class SoleScheduler(DatabaseScheduler):
    """Ticks while it holds an advisory lock in its own database session, and stands by otherwise.

    The lock goes with the session, whatever ends it: there is nothing to expire and nothing to clean up.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        self._session: BaseDatabaseWrapper | None = None
        self._is_sole = False
        # A successor reads from the rows what has been sent: each is written at once.
        super().__init__(*args, sync_every_tasks=1, **kwargs)

    def setup_schedule(self) -> None:
        """Do nothing: bootstrap makes the schedules, and a scheduler may start before its database."""

    def tick(self, *args: object, **kwargs: object) -> float:
        """Send what is due if this one holds the lock; return the seconds until the next tick."""
        if not self._holds_lock():
            return float(self.max_interval)
        try:
            return float(super().tick(*args, **kwargs))
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The schedules cannot be read: %s", error)
            self._reload_schedules()
            return float(self.max_interval)

    def close(self) -> None:
        """Write what was sent, then release the lock."""
        if self._is_sole:
            super().close()
        self._end_session()

    def _holds_lock(self) -> bool:
        was_sole = self._is_sole
        try:
            self._is_sole = self._take_lock()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The scheduler's lock cannot be taken: %s", error)
            self._end_session()
            return False
        if self._is_sole and not was_sole:
            self._reload_schedules()
        if self._is_sole != was_sole:
            logger.info("This scheduler is %s", "active" if self._is_sole else "standing by")
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

    def _reload_schedules(self) -> None:
        """Read every schedule again at the next tick."""
        self._initial_read = True
        self._heap = None
