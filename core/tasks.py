"""How every task is declared: its queue, its limits, and what a second delivery does."""

from collections.abc import Callable
from typing import Any

from celery import Task, shared_task
from django.conf import settings

from core.errors import TitanicError, to_api_error
from core.jobs import Cancelled, NotClaimed


class ServiceTask(Task):  # type: ignore[type-arg]
    """A task that says in a sentence that a service is away; the schedule or the sweep sends it again."""

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        try:
            self.run(*args, **kwargs)
        except Exception as error:
            refusal = to_api_error(error)
            if refusal is None:
                raise
            raise refusal from error


def job_task(*, queue: str, is_short: bool = True) -> Callable[[Callable[..., None]], Any]:
    """A task with one id for an argument and the limits of the queue that its senders put it on.

    A short, idempotent one is acknowledged when done and survives its worker.

    A long one is acknowledged at once: its lease and the sweep tell of a lost worker, and nobody is surprised by a
    second training.
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
