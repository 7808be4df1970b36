"""How every task is declared: limits, acknowledgement, and errors."""

import time
from collections.abc import Callable
from typing import ParamSpec

from celery import Task, shared_task
from django.conf import settings

from core import schedule_runs
from core.errors import TitanicError, to_api_error
from core.jobs import Cancelled, NotClaimed
from core.messages import Message

P = ParamSpec("P")


class ServiceTask(Task):  # type: ignore[type-arg]
    """A task that logs one sentence when a service is unavailable; its schedule or a recovery sends it again."""

    def __call__(self, *args: object, **kwargs: object) -> None:
        began, reason = time.time(), Message()
        try:
            self.run(*args, **kwargs)
        except Exception as error:
            known = to_api_error(error)
            reason = known.message if known else Message(type(error).__name__)
            if known is None:
                raise
            raise known from error
        finally:
            # The scheduler, and whoever runs a schedule now, send its name with the message.
            if schedule := self.request.get("periodic_task_name"):
                schedule_runs.record(schedule, began=began, error=reason)


def job_task(*, queue: str, is_short: bool = True) -> "Callable[[Callable[P, None]], Task[P, None]]":
    """Declare a task with the limits of its queue.

    A short, idempotent one is acknowledged when done and survives its worker.

    A long one is acknowledged at once: a lost worker's job fails when its lease runs out, and is not run a second time
    unless a person says so.
    """
    limit = settings.QUEUES[queue]
    return shared_task(
        base=ServiceTask,
        time_limit=limit,
        soft_time_limit=int(limit * 0.9),
        acks_late=is_short,
        reject_on_worker_lost=is_short,
        # Expected ends of a job, written on its row: no traceback in the log.
        throws=(NotClaimed, Cancelled, TitanicError),
    )
