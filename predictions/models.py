"""Predictions and what belongs to them: scoring jobs, outcomes, shadow scores, dead letters."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, Self
from uuid import UUID

import uuid_utils
from django.conf import settings
from django.db import models, transaction
from django.db.models import F, OuterRef, Subquery
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core import audit
from core.advisory_locks import AdvisoryLock, lock
from core.csv_injection import csv_lines
from core.errors import Conflict
from core.file_names import GeneratedName
from core.jobs import JobQuerySet, State, UploadJob
from core.messages import Message
from core.models import Action
from core.roles import Scope
from ingestion.contract import Field
from ingestion.models import READING_OPTIONS, SHARE_VALIDATORS, Read, ReadingOptions
from ingestion.passenger import LABEL, LABEL_WORDS, PassengerFields, describe

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

# A version 7 UUID begins with 48 bits of milliseconds.
_TIME_SHIFT = 80
#: The caller's own id of a prediction, as the API takes it beside the passenger's fields.
REFERENCE = Field("reference", "text", is_required=False, max_length=100)
# How far an id's time and the prediction's may be apart.
_CLOCK_SLACK_MS = 60_000


def new_id() -> UUID:
    """Make a time-ordered UUID (version 7, RFC 9562): neighbours in time are neighbours in the index."""
    return UUID(str(uuid_utils.uuid7()))


def lowest_id(moment: datetime, *, slack_ms: int = 0) -> UUID:
    """Return the lowest id that a prediction of this moment (and some milliseconds), or of a later one, can have.

    >>> from datetime import UTC
    >>> str(lowest_id(datetime(2026, 11, 1, tzinfo=UTC)))
    '01a19467-e800-0000-0000-000000000000'
    """
    # Ids begin in 1970: there is none of a time before.
    return UUID(int=max(int(moment.timestamp() * 1000) + slack_ms, 0) << _TIME_SHIFT)


def milliseconds(prediction_id: UUID) -> int:
    """Return when an id was made, in milliseconds since 1970."""
    return prediction_id.int >> _TIME_SHIFT


def made_at(prediction_id: UUID) -> datetime:
    """Return when an id was made.

    >>> made_at(UUID("01a19467-e800-0000-0000-000000000000"))
    datetime.datetime(2026, 11, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    return datetime.fromtimestamp(milliseconds(prediction_id) / 1000, UTC)


class Channel(models.TextChoices):
    """The way a passenger reached the model."""

    FORM = "form", gettext_lazy("Form")
    API = "api", gettext_lazy("API")
    BATCH = "batch", gettext_lazy("API batch")
    CSV = "csv", gettext_lazy("CSV file")
    V2 = "v2", gettext_lazy("Open Inference Protocol")

    @classmethod
    def live(cls) -> "list[tuple[str, StrOrPromise]]":
        """List the channels but that of files, with their names: a file's rows are no traffic."""
        return [(value, label) for value, label in cls.choices if value != cls.CSV]


class ScoringJob(ReadingOptions, Read, UploadJob):
    """A table to be scored row by row, in parts that several workers share."""

    task_name = "predictions.tasks.score"
    task_argument = "job_id"
    queue = "scoring"
    inputs = (*UploadJob.inputs, "name", "is_explained", *READING_OPTIONS)
    page = "scoring_job"
    scope = Scope.PREDICT
    has_owner = True
    kind: ClassVar = gettext_lazy("Score a file")
    is_resumable = True

    name = models.CharField(gettext_lazy("name"), max_length=200)
    upload = models.FileField(gettext_lazy("file"), upload_to=GeneratedName("scoring"), max_length=300)
    is_explained = models.BooleanField(gettext_lazy("explained"), default=False)
    # What can be read is answered, unless it is the smaller part.
    largest_problem_share = models.FloatField(
        gettext_lazy("largest share of rejected rows"), default=0.5, db_default=0.5, validators=SHARE_VALIDATORS
    )
    row_count = models.PositiveIntegerField(gettext_lazy("rows"), null=True, editable=False)
    problem_count = models.PositiveIntegerField(gettext_lazy("rejected rows"), null=True, editable=False)
    starts = models.PositiveSmallIntegerField(gettext_lazy("starts"), default=0, editable=False)
    # Set once, when the file is split: one model, one moment and one header for all parts.
    model_version = models.PositiveIntegerField(gettext_lazy("model"), null=True, editable=False)
    split_at = models.DateTimeField(null=True, editable=False)
    header = models.JSONField(null=True, editable=False)

    objects = JobQuerySet["ScoringJob"].as_manager()

    class Meta(UploadJob.Meta):
        verbose_name = gettext_lazy("scoring job")
        verbose_name_plural = gettext_lazy("scoring jobs")

    @property
    def title(self) -> Message:
        return Message("Scoring job %(id)s") % {"id": str(self.pk)}

    def limit_open(self) -> None:
        """Raise Conflict while the owner has as many open jobs as a user may have; in the transaction that adds one."""
        # Of two at once the second counts the first.
        lock(AdvisoryLock.UPLOADS)
        if ScoringJob.objects.open().filter(created_by=self.created_by_id).count() >= settings.MOST_OPEN_JOBS:
            message = _("%(most)s of your files are being scored already: wait for one of them, or cancel it.")
            raise Conflict(message % {"most": settings.MOST_OPEN_JOBS})

    @transaction.atomic
    def rerun(self) -> Self:
        """Queue this very job again: it goes on with the parts that are not scored yet."""
        self.limit_open()
        if self.state == State.SUCCEEDED:
            return super().rerun()
        if not self.as_queryset().filter(state__in=(State.FAILED, State.CANCELLED)).update(
            state=State.QUEUED, error="", finished_at=None, sent_at=timezone.now(), starts=1
        ):  # fmt: skip
            raise Conflict(_("This run is not over yet: cancel it first."))
        audit.record(Action.REPEATED, self, before={"state": self.state}, after=self.audited_inputs)
        self.refresh_from_db()
        return self

    def _claim(self) -> None:
        super()._claim()
        self.claimed().update(starts=F("starts") + 1)
        self.refresh_from_db()


class ScoringPart(models.Model):
    """Whole lines of a scoring job's file: scored, logged and marked as done in one transaction, or not at all."""

    job = models.ForeignKey(ScoringJob, on_delete=models.CASCADE, related_name="parts")
    number = models.PositiveIntegerField(gettext_lazy("number"))
    start = models.PositiveBigIntegerField(gettext_lazy("from byte"))
    end = models.PositiveBigIntegerField(gettext_lazy("to byte"))
    line = models.PositiveIntegerField(gettext_lazy("lines before"))
    is_done = models.BooleanField(gettext_lazy("done"), default=False)
    row_count = models.PositiveIntegerField(gettext_lazy("rows"), default=0)
    problem_count = models.PositiveIntegerField(gettext_lazy("rejected rows"), default=0)
    results = models.FileField(gettext_lazy("results"), max_length=300, blank=True)
    result_bytes = models.PositiveBigIntegerField(gettext_lazy("bytes"), default=0)
    # What was spelt anew and rejected in it.
    reading = models.JSONField(null=True, editable=False)

    class Meta:
        verbose_name = gettext_lazy("part of a scoring job")
        verbose_name_plural = gettext_lazy("parts of scoring jobs")
        ordering = ("job", "number")
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="scoring_part_once")]

    def __str__(self) -> str:
        return f"{self.job_id}/{self.number}"

    def get_absolute_url(self) -> str:
        return self.job.get_absolute_url()


class PredictionQuerySet(models.QuerySet["Prediction"]):
    """Reads of the prediction log."""

    def since(self, moment: datetime) -> Self:
        """Select predictions made at this moment or later."""
        # Partitions and indexes know the id alone; it is made at about `created_at`, at worst by another clock.
        return self.filter(id__gte=lowest_id(moment, slack_ms=-_CLOCK_SLACK_MS), created_at__gte=moment)

    def until(self, moment: datetime) -> Self:
        """Select predictions made before this moment."""
        return self.filter(id__lt=lowest_id(moment, slack_ms=_CLOCK_SLACK_MS), created_at__lt=moment)

    def named(self, text: str) -> Self:
        """Select predictions by their id or, exactly, by the caller's reference."""
        try:
            return self.filter(pk=UUID(text))
        except ValueError:
            return self.filter(reference=text)

    def as_csv(self) -> Iterator[str]:
        """Return the rows as lines of CSV, with the outcome where it is known; read as they are sent."""
        names = [column.name for column in Prediction._meta.fields]
        actual = Outcome.objects.filter(pk=OuterRef("pk")).values("actual")
        rows = self.annotate(actual=Subquery(actual)).values_list(*names, "actual").iterator()
        return csv_lines(chain([[*names, LABEL]], rows))

    def live(self) -> Self:
        """Leave out files: their rows are no traffic."""
        return self.exclude(source=Channel.CSV)

    def newest(self, count: int) -> Self:
        """Select the last `count`, newest first."""
        return self.order_by("-id")[:count]


class Prediction(PassengerFields):
    """A passenger as requested, and the answer as given."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    model_version = models.PositiveIntegerField(gettext_lazy("model"))
    probability = models.FloatField(gettext_lazy("probability"))
    threshold = models.FloatField(gettext_lazy("threshold"))
    predicted = models.BooleanField(gettext_lazy("predicted"))
    source = models.CharField(gettext_lazy("channel"), max_length=5, choices=Channel)
    # No foreign keys: the log is written by COPY, and a row must never be lost because another was deleted.
    scoring_job_id = models.BigIntegerField(gettext_lazy("scoring job"), null=True)
    created_at = models.DateTimeField(gettext_lazy("created"))
    reference = models.CharField(gettext_lazy("reference"), max_length=REFERENCE.max_length, null=True)
    # Processes of the version before write rows without it.
    anonymous = models.BooleanField(gettext_lazy("anonymous"), default=False, db_default=False)
    # That of the request which was answered; log lines have it too.
    request_id = models.UUIDField(gettext_lazy("request id"), null=True)

    objects = PredictionQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("prediction")
        verbose_name_plural = gettext_lazy("predictions")
        ordering = ("-id",)
        # Each filter's index ends in the order of the pages, so that the first page of a rare kind is found at once.
        # Results, and channels that bring thousands of rows, have none: a page of them is found soon as a rule, and
        # their indexes would make COPY a third slower.
        indexes = [
            models.Index(fields=["model_version", "id"], name="prediction_by_model"),
            models.Index(
                fields=["source", "id"],
                name="prediction_by_channel",
                condition=models.Q(source__in=[Channel.FORM, Channel.API, Channel.V2]),
            ),
            models.Index(
                fields=["scoring_job_id", "id"],
                name="prediction_by_job",
                condition=models.Q(scoring_job_id__isnull=False),
            ),
            models.Index(
                fields=["reference", "id"],
                name="prediction_by_reference",
                condition=models.Q(reference__isnull=False),
            ),
            models.Index(fields=["id"], name="prediction_anonymous", condition=models.Q(anonymous=True)),
        ]

    def __str__(self) -> str:
        return str(self.id)

    def get_absolute_url(self) -> str:
        return reverse("prediction", args=[self.id])

    @property
    def summary(self) -> str:
        """The passenger in a few words."""
        return describe(self)


class PredictionCount(models.Model):
    """How many predictions with these labels were ever stored; deleting predictions does not lower it."""

    model_version = models.PositiveIntegerField(gettext_lazy("model"))
    predicted = models.BooleanField(gettext_lazy("predicted"))
    source = models.CharField(gettext_lazy("channel"), max_length=5, choices=Channel)
    count = models.PositiveBigIntegerField(gettext_lazy("predictions"))
    counted_at = models.DateTimeField()

    class Meta:
        verbose_name = gettext_lazy("prediction count")
        verbose_name_plural = gettext_lazy("prediction counts")
        constraints = [
            models.UniqueConstraint(fields=["model_version", "predicted", "source"], name="one_count_by_labels")
        ]

    def __str__(self) -> str:
        return f"{self.model_version} {self.predicted} {self.source}: {self.count}"


class Outcome(models.Model):
    """What really happened to the passenger of a prediction."""

    # No foreign key, as in the log: it may be known before the prediction is drained.
    prediction_id = models.UUIDField(gettext_lazy("prediction"), primary_key=True)
    actual = models.BooleanField(gettext_lazy("actual"))
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=gettext_lazy("by"), null=True, on_delete=models.SET_NULL
    )
    recorded_at = models.DateTimeField(gettext_lazy("recorded"), auto_now_add=True)

    class Meta:
        verbose_name = gettext_lazy("outcome")
        verbose_name_plural = gettext_lazy("outcomes")

    def __str__(self) -> str:
        return f"{self.prediction_id}: {LABEL_WORDS[self.actual]}"

    def get_absolute_url(self) -> str:
        return reverse("prediction", args=[self.prediction_id])


class ShadowScore(models.Model):
    """What a challenger would have answered instead of a logged prediction."""

    model_version = models.PositiveIntegerField(gettext_lazy("model"))
    # No foreign key, as in the log: partitions are dropped whole.
    prediction_id = models.UUIDField(gettext_lazy("prediction"))
    probability = models.FloatField(gettext_lazy("probability"))
    predicted = models.BooleanField(gettext_lazy("predicted"))
    created_at = models.DateTimeField(gettext_lazy("created"))

    class Meta:
        verbose_name = gettext_lazy("shadow score")
        verbose_name_plural = gettext_lazy("shadow scores")
        constraints = [
            models.UniqueConstraint(fields=["model_version", "prediction_id"], name="one_shadow_score_by_model")
        ]

    def __str__(self) -> str:
        return f"{self.model_version}: {self.probability:.3f}"

    def get_absolute_url(self) -> str:
        return reverse("prediction", args=[self.prediction_id])


class DeadLetter(models.Model):
    """An entry of the prediction log that could not be stored, kept whole."""

    entry_id = models.CharField(gettext_lazy("entry"), max_length=50, unique=True)
    raw = models.BinaryField(gettext_lazy("content"))
    error = models.TextField(gettext_lazy("error"))
    attempts = models.PositiveIntegerField(gettext_lazy("attempts"))
    created_at = models.DateTimeField(gettext_lazy("created"), default=timezone.now)

    class Meta:
        verbose_name = gettext_lazy("dead letter")
        verbose_name_plural = gettext_lazy("dead letters")
        ordering = ("-pk",)

    def __str__(self) -> str:
        return self.entry_id
