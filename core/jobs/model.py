"""The row of a job: its states, and the only ways from one to the next."""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import ClassVar, Self, TypeVar

from django.conf import settings
from django.db import models, transaction
from django.db.models.functions import Coalesce, Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework.request import Request

from core import audit
from core.errors import Conflict, TitanicError
from core.fields import MessageField
from core.jobs.lease import Lease
from core.log_context import working_on
from core.messages import Message
from core.models import Action
from core.roles import Scope, scopes_of_request
from core.users import current_user

logger = logging.getLogger(__name__)

_MIN_PROGRESS_FOR_ESTIMATE = 0.02
_MAX_ERROR_LENGTH = 2000


class NotClaimed(Exception):
    """Another worker has the job, or it is over: there is nothing to do here."""


class Cancelled(Exception):
    """The job was cancelled while it ran."""


class State(models.TextChoices):
    """A job is queued, then running, then in one of three final states."""

    QUEUED = "queued", gettext_lazy("Queued")
    RUNNING = "running", gettext_lazy("Running")
    SUCCEEDED = "succeeded", gettext_lazy("Succeeded")
    FAILED = "failed", gettext_lazy("Failed")
    CANCELLED = "cancelled", gettext_lazy("Cancelled")


OPEN_STATES = (State.QUEUED, State.RUNNING)


J = TypeVar("J", bound="Job")


class JobQuerySet(models.QuerySet[J]):
    """Jobs by what became of them."""

    def visible_to(self, request: HttpRequest | Request) -> Self:
        """Keep those that the request may see: of a kind with owners, the user's own, unless it may operate."""
        user = current_user(request)
        if not self.model.has_owner or (user and Scope.OPERATE in scopes_of_request(request)):
            return self.all()
        own = self.filter(created_by=user)
        # What was owned by a user who is deleted has no owner, and is nobody's.
        return own if user else own.filter(is_owned=False)

    def succeeded(self) -> Self:
        return self.filter(state=State.SUCCEEDED)

    def open(self) -> Self:
        """Keep those that are queued or running."""
        return self.filter(state__in=OPEN_STATES)

    def abandoned(self) -> Self:
        """Keep those in state running whose lease has expired: their worker died."""
        return self.filter(state=State.RUNNING, lease_expires_at__lt=Now())

    def unsent_since(self, moment: datetime) -> Self:
        """Keep those that are queued and were last published before a moment: the message is lost, or waits."""
        return self.filter(state=State.QUEUED, sent_at__lt=moment)


class Job(models.Model):
    """One run of one step."""

    #: The task that does the work, its one argument, its queue, and the fields that a rerun copies.
    task_name: ClassVar[str]
    task_argument: ClassVar[str]
    queue: ClassVar[str] = "default"
    inputs: ClassVar[tuple[str, ...]] = ()
    #: The name of the address of the page that shows one.
    page: ClassVar[str]
    #: What people call this kind of job, translated.
    kind: ClassVar[str | Promise]
    #: The scope that starting, cancelling and repeating one requires, and whether it belongs to whoever started it.
    scope: ClassVar[Scope] = Scope.OPERATE
    has_owner: ClassVar[bool] = False
    #: Whether it is resumed where its worker died: such a kind counts its `starts`.
    is_resumable: ClassVar[bool] = False
    _lease: Lease
    _is_complete = False
    #: Called with each report, for a progress bar in this very process.
    on_report: Callable[[float, int | None], None] | None = None

    state = models.CharField(gettext_lazy("state"), max_length=9, choices=State, default=State.QUEUED, editable=False)
    error = MessageField(gettext_lazy("error"), blank=True, editable=False)
    progress = models.FloatField(gettext_lazy("progress"), default=0, editable=False, help_text="0 to 1")
    handled_count = models.PositiveBigIntegerField(gettext_lazy("rows so far"), null=True, editable=False)
    created_at = models.DateTimeField(gettext_lazy("created"), default=timezone.now, editable=False)
    started_at = models.DateTimeField(gettext_lazy("started"), null=True, editable=False)
    finished_at = models.DateTimeField(gettext_lazy("finished"), null=True, editable=False)
    # When it was last published; a new row counts as published, so that its own commit gets the first try.
    sent_at = models.DateTimeField(default=timezone.now, editable=False)
    lease_expires_at = models.DateTimeField(null=True, editable=False)
    worker = models.CharField(gettext_lazy("worker"), max_length=200, blank=True, editable=False)
    # That of the request which queued it; log lines and the audit trail have it too.
    request_id = models.CharField(
        gettext_lazy("request id"), max_length=36, blank=True, default=audit.request_id, editable=False
    )

    # Whose inputs it has, where it was started to repeat another.
    repeats = models.ForeignKey(
        "self", verbose_name=gettext_lazy("repeats"), null=True, editable=False, on_delete=models.SET_NULL,
        related_name="repetitions",
    )  # fmt: skip

    class Meta:
        abstract = True
        ordering = ("-pk",)
        get_latest_by = "pk"

    def __str__(self) -> str:
        return str(self.title)

    @property
    def title(self) -> Message:
        """What it is called, for messages that name it."""
        raise NotImplementedError

    def get_absolute_url(self) -> str:
        return reverse(self.page, args=[self.pk])

    @property
    def task_id(self) -> str:
        """The id of its message."""
        return f"{self._meta.model_name}-{self.pk}"

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES

    @property
    def duration(self) -> timedelta | None:
        """How long it ran, or has been running."""
        return (self.finished_at or timezone.now()) - self.started_at if self.started_at else None

    @property
    def rows_per_second(self) -> float | None:
        """How fast it is, or was; None before the first rows, and where it cannot be known."""
        if not self.handled_count or not self.duration or self._is_resumed:
            return None
        return float(self.handled_count / max(self.duration.total_seconds(), 0.001))

    @property
    def time_left(self) -> timedelta | None:
        """How long it will go on at the pace so far; None while that cannot be known."""
        if self.state != State.RUNNING or self._is_resumed:
            return None
        if not self.duration or not _MIN_PROGRESS_FOR_ESTIMATE <= self.progress < 1:
            return None
        return timedelta(seconds=round(self.duration.total_seconds() * (1 / self.progress - 1)))

    @property
    def _is_resumed(self) -> bool:
        """Whether it was resumed: then not all of its rows were handled since it started."""
        return self.is_resumable and getattr(self, "starts", 1) > 1

    @property
    def audited_inputs(self) -> dict[str, object]:
        """What the audit trail tells of it: the inputs, without secrets."""
        return {name: getattr(self, name) for name in self.inputs}

    def queue_new(self) -> Self:
        """Save the new job and record who queued it."""
        with transaction.atomic():
            self.save()
            audit.record(Action.QUEUED, self, after=self.audited_inputs)
        return self

    @contextmanager
    def running(self) -> Iterator[None]:
        """Claim the job, hold its lease while the body runs, and record how it ended.

        Raises NotClaimed when it is not queued any more: of two deliveries one gets it.
        """
        # Inside a transaction a failure would roll its own record back: Django raises RuntimeError there.
        with transaction.atomic(durable=True):
            self._claim()
        with (
            working_on(self.task_id, request_id=self.request_id),
            Lease(self.claimed(), name=self.task_id, queue=self.queue) as self._lease,
        ):
            logger.info("%s started", self.task_id)
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
                logger.exception("%s failed", self.task_id)
                self._finish(State.FAILED, error=f"{type(error).__name__}: {error}".strip(": ")[:_MAX_ERROR_LENGTH])
                raise
            if self._is_complete:
                self.refresh_from_db()
            else:
                self._finish(State.SUCCEEDED, progress=1, handled_count=self._lease.count)

    def report(self, done: float, *, count: int | None = None) -> None:
        """Note how far the work is (0 to 1, rows); raises Cancelled when the job is not this worker's any more.

        The lease's thread writes it, so that it is seen, and a cancel noticed, in the middle of a transaction.
        """
        if self._lease.is_lost:
            raise Cancelled
        self._lease.done, self._lease.count = min(max(done, 0.0), 1.0), count
        if self.on_report:
            self.on_report(done, count)

    def begin_stage(self, name: str) -> None:
        """Note in the log that a stage begins; its name is English, and is translated where it is shown."""
        logger.info("%s", name, extra={"is_stage": True})

    def lock_row(self) -> None:
        """Lock the row until the transaction ends, so that no cancel comes in between; raises Cancelled after one."""
        if not self.claimed().select_for_update().exists():
            raise Cancelled

    def complete(self) -> None:
        """Succeed within the caller's transaction, which makes the result visible; raises Cancelled.

        Whenever the worker dies, there is either a result and a job that succeeded, or neither.
        """
        done = {"progress": 1, "handled_count": self._lease.count}
        if not self.claimed().update(state=State.SUCCEEDED, error="", finished_at=Now(), lease_expires_at=None, **done):
            raise Cancelled
        self._is_complete = True
        transaction.on_commit(lambda: logger.info("%s succeeded", self.task_id))

    def cancel(self) -> None:
        """Stop the job: a queued one never runs, a running one ends at its next report."""
        with transaction.atomic():
            before = self.as_queryset().open().select_for_update().first()
            if before is None:
                raise Conflict(_("This run is over already."))
            self.as_queryset().update(state=State.CANCELLED, finished_at=Now(), error="", lease_expires_at=None)
            audit.record(Action.CANCELLED, self, before={"state": before.state})
        self.refresh_from_db()

    def rerun(self) -> Self:
        """Return a new queued row with the same inputs; the old one stays as it is."""
        if self.is_open:
            raise Conflict(_("This run is not over yet: cancel it first."))
        again = type(self)(**{name: getattr(self, name) for name in self.inputs}, repeats=self)
        with transaction.atomic():
            again.save()
            audit.record(Action.REPEATED, again, before={"job": self}, after=again.audited_inputs)
        return again

    def as_queryset(self) -> JobQuerySet[Self]:
        """Return this one row, for an update under a condition."""
        jobs: JobQuerySet[Self] = JobQuerySet(type(self))
        return jobs.filter(pk=self.pk)

    def claimed(self) -> JobQuerySet[Self]:
        """Return this one row while this worker's claim holds."""
        return self.as_queryset().filter(state=State.RUNNING, worker=self.worker)

    def _claim(self) -> None:
        worker = f"{socket.gethostname()}:{os.getpid()}:{time.monotonic_ns()}"
        # A resumed job began when its first worker did.
        started_at = Coalesce("started_at", Now()) if self.is_resumable else Now()
        claimed = self.as_queryset().filter(state=State.QUEUED).update(
            state=State.RUNNING, worker=worker, started_at=started_at, lease_expires_at=Now() + settings.JOB_LEASE
        )  # fmt: skip
        if not claimed:
            raise NotClaimed(self.task_id)
        self.refresh_from_db()

    def _finish(self, state: State, *, error: Message | str = "", **changes: object) -> None:
        changes |= {"state": state, "error": error, "finished_at": Now(), "lease_expires_at": None}
        finished = self.claimed().update(**changes)
        self.refresh_from_db()
        logger.info("%s %s", self.task_id, self.state, extra={"error": str(error)})
        if not finished and state == State.SUCCEEDED:
            raise Cancelled
