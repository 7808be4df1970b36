"""A job: one step of the life, as a row with a state, a lease and a way to start again."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, Self, TypeVar

from celery import current_app, current_task
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, connection, models, transaction
from django.db.models.functions import Coalesce, Now
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from kombu.exceptions import OperationalError as BrokerAway

from core import heartbeat
from core.errors import Conflict, TitanicError
from core.redis import RedisUnavailable

logger = logging.getLogger(__name__)

RENEWAL_SECONDS = 1.0
_MIN_PROGRESS_FOR_ESTIMATE = 0.02
#: A queued job is published again when nobody took it for this long; a second message is harmless.
RESEND_AFTER = timedelta(seconds=60)
#: A job that goes on where its worker died does so until it has been started so often.
MAX_STARTS = 5


class NotClaimed(Exception):
    """Somebody else has the job, or it is over: there is nothing to do here."""


class Cancelled(Exception):
    """A person cancelled the job while it ran."""


class State(models.TextChoices):
    """A job's way: queued, running, then one of three ends."""

    QUEUED = "queued", gettext_lazy("Queued")
    RUNNING = "running", gettext_lazy("Running")
    SUCCEEDED = "succeeded", gettext_lazy("Succeeded")
    FAILED = "failed", gettext_lazy("Failed")
    CANCELLED = "cancelled", gettext_lazy("Cancelled")


OPEN_STATES = (State.QUEUED, State.RUNNING)


J = TypeVar("J", bound="Job")


class JobQuerySet(models.QuerySet[J]):
    """Jobs in the words of the people who watch them."""

    def succeeded(self) -> Self:
        return self.filter(state=State.SUCCEEDED)

    def open(self) -> Self:
        """Queued or running."""
        return self.filter(state__in=OPEN_STATES)

    def abandoned(self) -> Self:
        """Running on paper, but the lease has run out: the worker died."""
        return self.filter(state=State.RUNNING, lease_expires_at__lt=Now())

    def undelivered(self) -> Self:
        """Queued, and its message lost or waiting for long."""
        return self.filter(state=State.QUEUED, sent_at__lt=timezone.now() - RESEND_AFTER)


class Job(models.Model):
    """One run of one step."""

    #: The task that does the work, its one argument, its queue, and the fields a new start copies.
    task_name: ClassVar[str]
    task_argument: ClassVar[str]
    queue: ClassVar[str] = "default"
    inputs: ClassVar[tuple[str, ...]] = ()
    kind: ClassVar[Any]
    #: Whether it goes on where its worker died: such a kind counts its `starts`.
    is_resumable: ClassVar[bool] = False
    _lease: "_Lease"
    _is_complete = False
    #: Told of each report, for whoever watches in this very process.
    on_report: Callable[[float, int | None], None] | None = None

    state = models.CharField(gettext_lazy("state"), max_length=9, choices=State, default=State.QUEUED, editable=False)
    error = models.TextField(gettext_lazy("error"), blank=True, editable=False)
    progress = models.FloatField(gettext_lazy("progress"), default=0, editable=False, help_text="0 to 1")
    handled_count = models.PositiveBigIntegerField(gettext_lazy("rows so far"), null=True, editable=False)
    created_at = models.DateTimeField(gettext_lazy("created"), default=timezone.now, editable=False)
    started_at = models.DateTimeField(gettext_lazy("started"), null=True, editable=False)
    finished_at = models.DateTimeField(gettext_lazy("finished"), null=True, editable=False)
    # When it was last published; a new row counts as published, so that its own commit gets the first try.
    sent_at = models.DateTimeField(default=timezone.now, editable=False)
    lease_expires_at = models.DateTimeField(null=True, editable=False)
    worker = models.CharField(gettext_lazy("worker"), max_length=200, blank=True, editable=False)

    class Meta:
        abstract = True
        ordering = ("-pk",)
        get_latest_by = "pk"

    def get_absolute_url(self) -> str:
        """Where it can be watched."""
        raise ImproperlyConfigured(f"{type(self).__name__} has no page.")

    @property
    def task_id(self) -> str:
        """The message's id is the job's."""
        return f"{self._meta.model_name}-{self.pk}"

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES

    @property
    def duration(self) -> timedelta | None:
        """How long it ran, or has been running."""
        return (self.finished_at or timezone.now()) - self.started_at if self.started_at else None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Claim the job, hold its lease while the body runs, and write down how it ended.

        Raises NotClaimed when it is not queued any more: of two deliveries one gets it.
        """
        # Inside a transaction a failure would roll its own mark back: Django raises RuntimeError there.
        with transaction.atomic(durable=True):
            self._claim()
        with _Lease(self) as self._lease:
            try:
                yield
            except Cancelled:
                logger.info("%s cancelled", self.task_id)
                raise
            except KeyboardInterrupt:
                self._finish(State.CANCELLED)
                raise
            except TitanicError as error:
                self._finish(State.FAILED, error=error.message)
                raise
            except BaseException as error:
                self._finish(State.FAILED, error=_describe(error))
                raise
            if self._is_complete:
                self.refresh_from_db()
            else:
                self._finish(State.SUCCEEDED, progress=1, handled_count=self._lease.count)

    @property
    def rows_per_second(self) -> float | None:
        """How fast it is, or was; None before the first rows, and where nobody can tell."""
        if not self.handled_count or not self.duration or self._is_resumed:
            return None
        return float(self.handled_count / max(self.duration.total_seconds(), 0.001))

    @property
    def time_left(self) -> timedelta | None:
        """How long it will go on at the pace so far; None while nobody can tell."""
        if self.state != State.RUNNING or self._is_resumed:
            return None
        if not self.duration or not _MIN_PROGRESS_FOR_ESTIMATE <= self.progress < 1:
            return None
        return timedelta(seconds=round(self.duration.total_seconds() * (1 / self.progress - 1)))

    @property
    def _is_resumed(self) -> bool:
        """Whether it goes on where a worker died: then not all its rows were handled since it started."""
        return self.is_resumable and getattr(self, "starts", 1) > 1

    def report(self, done: float, *, count: int | None = None) -> None:
        """Say how far the work is (0 to 1, rows); raises Cancelled when the job is not ours any more.

        The lease's thread writes it down, so that it is seen, and a cancel heard, in the middle of a transaction.
        """
        if self._lease.is_lost:
            raise Cancelled
        self._lease.done, self._lease.count = min(max(done, 0.0), 1.0), count
        if self.on_report:
            self.on_report(done, count)

    def lock_row(self) -> None:
        """Keep the row locked until the transaction's end, or raise Cancelled: what is committed is wanted."""
        if not self._mine().select_for_update().exists():
            raise Cancelled

    def complete(self) -> None:
        """Succeed with the caller's transaction, which makes the result visible, or raise Cancelled.

        Between the two no worker can die: there is either a result of a job that succeeded, or neither.
        """
        done = {"progress": 1, "handled_count": self._lease.count}
        if not self._mine().update(state=State.SUCCEEDED, error="", finished_at=Now(), lease_expires_at=None, **done):
            raise Cancelled
        self._is_complete = True
        transaction.on_commit(lambda: logger.info("%s succeeded", self.task_id))

    def cancel(self) -> None:
        """Stop the job: a queued one never runs, a running one ends at its next report."""
        changed = self._rows().filter(state__in=OPEN_STATES).update(
            state=State.CANCELLED, finished_at=Now(), error="", lease_expires_at=None
        )  # fmt: skip
        if not changed:
            raise Conflict(_("This run is over already."))
        self.refresh_from_db()

    def rerun(self) -> Self:
        """A new queued row with the same inputs; what happened stays on the old one."""
        if self.is_open:
            raise Conflict(_("This run is not over yet: cancel it first."))
        again = type(self)(**{name: getattr(self, name) for name in self.inputs})
        again.save()
        return again

    def _rows(self) -> JobQuerySet[Self]:
        jobs: JobQuerySet[Self] = JobQuerySet(type(self))
        return jobs.filter(pk=self.pk)

    def _mine(self) -> JobQuerySet[Self]:
        return self._rows().filter(state=State.RUNNING, worker=self.worker)

    def _claim(self) -> None:
        worker = f"{socket.gethostname()}:{os.getpid()}:{time.monotonic_ns()}"
        # What goes on where a worker died began when that one did.
        started_at = Coalesce("started_at", Now()) if self.is_resumable else Now()
        claimed = self._rows().filter(state=State.QUEUED).update(
            state=State.RUNNING, worker=worker, started_at=started_at, lease_expires_at=Now() + settings.JOB_LEASE
        )  # fmt: skip
        if not claimed:
            raise NotClaimed(self.task_id)
        self.refresh_from_db()
        logger.info("%s started", self.task_id)

    def _finish(self, state: State, *, error: str = "", **changes: Any) -> None:
        changes |= {"state": state, "error": error, "finished_at": Now(), "lease_expires_at": None}
        finished = self._mine().update(**changes)
        self.refresh_from_db()
        logger.info("%s %s", self.task_id, self.state, extra={"error": error})
        if not finished and state == State.SUCCEEDED:
            raise Cancelled


def _describe(error: BaseException) -> str:
    """What a person reads on the run; the traceback is in the log."""
    logger.error("a job failed", exc_info=error)
    return f"{type(error).__name__}: {error}".strip(": ")[:2000]


def _own_queues() -> list[str]:
    """The queues of the worker that this is called in; none elsewhere."""
    if not current_task or current_task.request.called_directly:
        return []
    return list(current_app.amqp.queues.consume_from)


class _Lease:
    """Renews a running job's lease, and writes its progress, from a thread of its own while the body computes."""

    def __init__(self, job: Job) -> None:
        self.done = 0.0
        self.count: int | None = None
        self.is_lost = False
        self._job = job
        self._queues = _own_queues() or [job.queue]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_over, name=f"lease {job.task_id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _renew_until_over(self) -> None:
        while not self._over.wait(RENEWAL_SECONDS):
            try:
                self._renew()
            except (DatabaseError, InterfaceError, *RedisUnavailable) as error:
                logger.warning("lease of %s not renewed: %s", self._job.task_id, error)
                connection.close()
        connection.close()

    def _renew(self) -> None:
        kept = self._job._mine().update(
            lease_expires_at=Now() + settings.JOB_LEASE, progress=self.done, handled_count=self.count
        )
        self.is_lost = not kept
        # A worker full of long runs takes no heartbeat task: the lease answers for its queues.
        for queue in self._queues:
            heartbeat.beat(queue)


def enqueue(job: Job) -> None:
    """Publish the job once the row is committed; without a broker the row waits for the sweep."""
    transaction.on_commit(partial(_publish, job))


def _publish(job: Job) -> None:
    try:
        current_app.send_task(
            job.task_name, kwargs={job.task_argument: job.pk}, task_id=job.task_id, queue=job.queue, retry=False
        )
    except (BrokerAway, *RedisUnavailable):
        logger.warning("%s not published, the sweep will", job.task_id)


def kinds() -> list[type[Job]]:
    """Every kind of job there is."""
    return [model for model in apps.get_models() if issubclass(model, Job)]


def recover_stale() -> tuple[int, int]:
    """Close what a dead worker left behind and publish again what nobody took: (closed, sent) counts."""
    closed = sent = 0
    for model in kinds():
        jobs: JobQuerySet[Job] = JobQuerySet(model)
        if model.is_resumable:
            # Sent again below.
            jobs.abandoned().filter(models.Q(starts__lt=MAX_STARTS)).update(
                state=State.QUEUED, sent_at=timezone.now() - 2 * RESEND_AFTER, lease_expires_at=None
            )
        closed += jobs.abandoned().update(
            state=State.FAILED,
            error=_("The worker stopped in the middle of this run. Start it again."),
            finished_at=Now(),
            lease_expires_at=None,
        )
        for job in jobs.undelivered():
            _publish(job)
            sent += jobs.filter(pk=job.pk).update(sent_at=Now())
    return closed, sent
