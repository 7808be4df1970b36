"""The lease of a running job: while it is renewed, its worker is known to be alive."""

import logging
import threading
from contextvars import copy_context
from functools import partial
from typing import Self

from celery import current_app, current_task
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Model, QuerySet
from django.db.models.functions import Now

from core import heartbeat
from core.jobs.log import JobLog
from core.redis import RedisUnavailable

logger = logging.getLogger(__name__)

RENEWAL_SECONDS = 1.0


class Lease:
    """Renews a running job's lease, and writes its progress, from a thread of its own while the body computes."""

    def __init__(self, claimed: QuerySet[Model], *, name: str, queue: str) -> None:
        """Hold the lease of the job that `claimed` selects while this worker has it."""
        self.done = 0.0
        self.count: int | None = None
        self.is_lost = False
        self._claimed, self._name = claimed, name
        self._log = JobLog(name)
        is_in_worker = current_task and not current_task.request.called_directly
        self._queues = list(current_app.amqp.queues.consume_from) if is_in_worker else [queue]
        self._over = threading.Event()
        # Its log lines have the ids of the job's.
        context = partial(copy_context().run, self._renew_until_over)
        self._thread = threading.Thread(target=context, name=f"lease {name}", daemon=True)

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self._log)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()
        logging.getLogger().removeHandler(self._log)
        self._log.store()

    def _renew_until_over(self) -> None:
        while not self._over.wait(RENEWAL_SECONDS):
            try:
                renewed = self._claimed.update(
                    lease_expires_at=Now() + settings.JOB_LEASE, progress=self.done, handled_count=self.count
                )
                self.is_lost = not renewed
                if renewed:
                    self._log.store()
                # A worker full of long runs takes no heartbeat task: the lease sends the heartbeats of its queues.
                for queue in self._queues:
                    heartbeat.beat(queue)
            except (DatabaseError, InterfaceError, *RedisUnavailable) as error:
                logger.warning("lease of %s not renewed: %s", self._name, error)
                connection.close()
        connection.close()
