"""The scheduler (Celery beat): schedules are rows, and of all schedulers exactly one sends what is due."""

import logging
from datetime import datetime

from celery.signals import beat_init
from django.db import DatabaseError, InterfaceError
from django.utils import timezone
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry
from redis.exceptions import LockError

from core import heartbeat, postgres_waits, redis

logger = logging.getLogger(__name__)

#: How long (seconds) the lock outlives a scheduler that was killed; it is renewed at each tick.
LOCK_SECONDS = 10
#: How often (seconds) one that stands by tries to take it.
STANDBY_SECONDS = 1.0


@beat_init.connect
def bound_waits(**_: object) -> None:
    """Bound the waits for PostgreSQL: the lock would expire in the middle of a tick."""
    postgres_waits.install()


class PastEntry(ModelEntry):
    """A schedule that was last run in the past, also after the clock was set back: it would wait for that time."""

    last_run_at: datetime

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.last_run_at = min(self.last_run_at, timezone.now())


class SoleScheduler(DatabaseScheduler):
    """Ticks while it holds a lock in Redis, and stands by otherwise.

    In Redis, since nothing is sent without it; and no lock of a database session outlives PgBouncer's transactions.
    """

    Entry = PastEntry

    def __init__(self, *args: object, **kwargs: object) -> None:
        self._ticked_at = timezone.now()
        self._lock = redis.client().lock("scheduler", timeout=LOCK_SECONDS, blocking=False)
        self._is_sole = False
        # A successor reads from the rows what has been sent: each is written at once.
        super().__init__(*args, sync_every_tasks=1, **kwargs)

    def setup_schedule(self) -> None:
        """Do nothing: bootstrap makes the schedules, and a scheduler may start before its database."""

    def tick(self, *args: object, **kwargs: object) -> float:
        """Send what is due if this one holds the lock; return the seconds until the next tick."""
        heartbeat.touch_file()
        if not self._holds_lock():
            return STANDBY_SECONDS
        now = timezone.now()
        if now < self._ticked_at:
            logger.warning("The clock was set back by %s", self._ticked_at - now)
            self._reload_schedules()
        self._ticked_at = now
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
            self._is_sole = False
            try:
                self._lock.release()
            except (LockError, *redis.RedisUnavailable) as error:
                logger.warning("The scheduler's lock is not released, it expires: %s", error)

    def _holds_lock(self) -> bool:
        was_sole = self._is_sole
        try:
            self._is_sole = self._renew_lock() if was_sole else self._lock.acquire()
        except redis.RedisUnavailable as error:
            # Without Redis nothing can be sent; whose the lock is shows when it is back.
            logger.warning("The scheduler's lock cannot be taken: %s", error)
            return False
        if self._is_sole and not was_sole:
            self._reload_schedules()
        if self._is_sole != was_sole:
            logger.info("This scheduler is %s", "active" if self._is_sole else "standing by")
        return self._is_sole

    def _renew_lock(self) -> bool:
        try:
            return bool(self._lock.reacquire())
        except LockError:
            # It expired, or Redis lost it.
            return False

    def _reload_schedules(self) -> None:
        """Read every schedule again at the next tick."""
        self._initial_read = True
        self._heap = None
