"""Sources, datasets, their passengers and their rejected rows."""

from collections.abc import Collection, Iterator
from itertools import islice
from typing import ClassVar, Self

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django_celery_beat.models import PeriodicTask

from core.fields import MessageField
from core.jobs import OPEN_STATES, JobQuerySet, State, UploadJob
from core.messages import Message
from ingestion import reading, transports
from ingestion.contract import Columns, Field
from ingestion.passenger import KEY, LABEL, LabelledPassenger, describe
from ingestion.profiled import Profiled
from ingestion.reading import Reading
from ingestion.schema import FIELD_NAMES, FIELDS, KEY_FIELD, LABEL_FIELD, columns_from_rows

_CHUNK_ROWS = 20_000
#: The reasons of rejections that a chart shows.
MOST_REASONS = 15
# Missing-value markers, and letters of a marker or a heading.
_MOST_MARKERS, _LONGEST_WORD = 100, 200
SHARE_VALIDATORS = [MinValueValidator(0), MaxValueValidator(1)]


def _is_word(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_WORD and value.isprintable()


def validate_headings(value: object) -> None:
    """Raise ValidationError unless the value maps known columns to headings."""
    columns = (KEY, LABEL, *FIELD_NAMES)
    if not isinstance(value, dict) or not all(map(_is_word, value.values())):
        raise ValidationError(_("Give an object of columns and their headings, as {“column”: “heading”}."))
    if unknown := sorted(value.keys() - set(columns)):
        message = _("There is no column %(unknown)s. The columns are %(columns)s.")
        raise ValidationError(message, params={"unknown": ", ".join(unknown), "columns": ", ".join(columns)})


def validate_markers(value: object) -> None:
    """Raise ValidationError unless the value is a list of texts."""
    if not isinstance(value, list) or len(value) > _MOST_MARKERS or not all(map(_is_word, value)):
        raise ValidationError(_("Give a list of texts, as [“NA”, “?”]."))


class ReadingOptions(models.Model):
    """How a table's headings and cells are read, and how many rows may be rejected.

    The database has the defaults too: processes of an earlier version insert rows without these columns.
    """

    headings = models.JSONField(
        gettext_lazy("other headings"),
        default=dict,
        db_default={},
        blank=True,
        validators=[validate_headings],
        help_text=gettext_lazy(
            "Where a column has another heading than its name, as {“column”: “heading”}. Case, blanks and underscores "
            "do not matter."
        ),
    )
    ignores_headings = models.BooleanField(
        gettext_lazy("ignore other headings"),
        default=False,
        db_default=False,
        help_text=gettext_lazy(
            "Otherwise a heading that is not known fails the job when a column is missing: it may be that column’s."
        ),
    )
    markers = models.JSONField(
        gettext_lazy("missing-value markers"),
        default=list,
        db_default=[],
        blank=True,
        validators=[validate_markers],
        help_text=gettext_lazy(
            "Cells that mean unknown, as [“NA”, “?”], instead of the usual ones: NA, NaN, NULL, None, N/A, ?, - and "
            "the like. A blank cell always does."
        ),
    )
    largest_problem_share = models.FloatField(
        gettext_lazy("largest share of rejected rows"),
        default=0.1,
        validators=SHARE_VALIDATORS,
        help_text=gettext_lazy("Above this share (0 to 1) the whole table is rejected."),
    )

    class Meta:
        abstract = True

    def rejection(self, *, rejected_count: int, row_count: int) -> Message:
        """Say why a table with so many rejected rows is rejected as a whole; empty where it is not."""
        if not row_count:
            return Message("The table has a header and no rows.")
        if rejected_count < row_count and rejected_count <= self.largest_problem_share * row_count:
            return Message()
        message = Message("%(bad)s of %(all)s rows were rejected, more than the allowed share of %(share)s%%.")
        share = round(100 * self.largest_problem_share, 2)
        return message % {"bad": rejected_count, "all": row_count, "share": share}


class Read(models.Model):
    """A job that reads a table, and keeps how it did."""

    reading = models.JSONField(null=True, editable=False)

    class Meta:
        abstract = True

    @property
    def reading_report(self) -> Reading | None:
        """How the table was read; None before that."""
        return None if self.reading is None else reading.of_json(self.reading)


class IngestOptions(ReadingOptions):
    """How a table is read and when it is rejected; each dataset copies the options of its source."""

    has_label = models.BooleanField(
        gettext_lazy("has the label"), default=True, help_text=gettext_lazy("Whether each row has the label.")
    )
    largest_missing_share = models.FloatField(
        gettext_lazy("largest share of missing values"),
        default=1,
        validators=SHARE_VALIDATORS,
        help_text=gettext_lazy(
            "The whole table is rejected when a column has a larger share (0 to 1) of unknown values; 1 never rejects."
        ),
    )
    rejects_warnings = models.BooleanField(
        gettext_lazy("reject unlikely rows"),
        default=False,
        help_text=gettext_lazy("Reject rows with warnings; otherwise they are loaded and the warning is recorded."),
    )

    class Meta:
        abstract = True


READING_OPTIONS = tuple(field.name for field in ReadingOptions._meta.local_fields)
INGEST_OPTIONS = tuple(field.name for field in IngestOptions._meta.local_fields)


class Source(IngestOptions):
    """An address from which a table is fetched on schedule."""

    name = models.CharField(gettext_lazy("name"), max_length=100, unique=True)
    uri = models.CharField(
        gettext_lazy("address"),
        max_length=1000,
        help_text=gettext_lazy(
            "gs://bucket/object, gs://bucket/prefix*, https://…, a file in the inbox, or "
            "postgresql://user:password@host/database#table."
        ),
    )
    schedule = models.OneToOneField(
        PeriodicTask,
        verbose_name=gettext_lazy("schedule"),
        null=True,
        on_delete=models.SET_NULL,
        editable=False,
        related_name="+",
    )
    checked_at = models.DateTimeField(gettext_lazy("last checked"), null=True, editable=False)
    error = MessageField(gettext_lazy("error"), blank=True, editable=False)
    keep_count = models.PositiveSmallIntegerField(
        gettext_lazy("datasets to keep"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=gettext_lazy(
            "The rows of older datasets are archived each night, except those in use by a model. Empty keeps all."
        ),
    )

    class Meta:
        verbose_name = gettext_lazy("source")
        verbose_name_plural = gettext_lazy("sources")
        ordering = ("name",)
        constraints = [
            models.CheckConstraint(
                condition=Q(largest_problem_share__gte=0, largest_problem_share__lte=1), name="source_share_is_a_share"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def address(self) -> str:
        """The address without its password."""
        return transports.redact(self.uri)

    @property
    def is_database(self) -> bool:
        """Whether it is a table or a query of a database."""
        return transports.names_database(self.uri)

    @property
    def is_enabled(self) -> bool:
        """Whether its schedule is on."""
        return self.schedule is not None and self.schedule.enabled


class DatasetQuerySet(JobQuerySet["Dataset"]):
    """Named selections of datasets."""

    def with_rows(self) -> Self:
        """Select loaded datasets that are not archived."""
        return self.succeeded().filter(archived_at__isnull=True)

    def archivable(self, *, in_use: Collection[int]) -> Self:
        """Select datasets with rows or with an uploaded file, those left out that are open or `in_use` (ids)."""
        has_rows = Q(state=State.SUCCEEDED, archived_at__isnull=True)
        chosen = self.filter(has_rows | Q(upload_bytes__isnull=False))
        return chosen.exclude(state__in=OPEN_STATES).exclude(pk__in=in_use)

    def labelled(self) -> Self:
        """Select datasets that a model can be trained on."""
        return self.with_rows().filter(has_label=True)


UNIQUE_CONTENT = "each_content_once_per_object"


class Dataset(IngestOptions, Read, Profiled, UploadJob):  # noqa: DJ008 - jobs have it
    """One version of a table: fetched, validated, loaded."""

    task_name = "ingestion.tasks.ingest"
    task_argument = "dataset_id"
    inputs = (*UploadJob.inputs, "source", "name", "uri", "version", "by_command", *INGEST_OPTIONS)
    page = "dataset"
    kind: ClassVar = gettext_lazy("Ingest")

    source = models.ForeignKey(
        Source,
        verbose_name=gettext_lazy("source"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="datasets",
    )
    name = models.CharField(gettext_lazy("name"), max_length=200)
    uri = models.CharField(gettext_lazy("address"), max_length=1000)
    # The version's name at its address: a generation, an ETag.
    version = models.CharField(gettext_lazy("version"), max_length=300, blank=True, editable=False)
    # Requested by a person: the same content may be loaded again.
    is_forced = models.BooleanField(default=False, editable=False)
    # Named at the shell: any file and any database may be read.
    by_command = models.BooleanField(default=False, editable=False)
    sha256 = models.CharField(max_length=64, blank=True, db_index=True, editable=False)
    byte_count = models.BigIntegerField(gettext_lazy("bytes"), null=True, editable=False)
    row_count = models.PositiveIntegerField(gettext_lazy("rows"), null=True, editable=False)
    problem_count = models.PositiveIntegerField(gettext_lazy("rejected rows"), null=True, editable=False)
    warning_count = models.PositiveIntegerField(gettext_lazy("rows with warnings"), null=True, editable=False)
    split = models.JSONField(gettext_lazy("split"), null=True, editable=False)
    # Corrected rows are added later; features and models made before keep to the rows of their revision.
    revision = models.PositiveIntegerField(gettext_lazy("revision"), default=0, editable=False)
    # The whole table was rejected: the same bytes would be rejected again.
    is_rejected = models.BooleanField(default=False, editable=False)
    archived_at = models.DateTimeField(gettext_lazy("archived"), null=True, editable=False)

    objects = DatasetQuerySet.as_manager()

    class Meta(UploadJob.Meta):
        verbose_name = gettext_lazy("dataset")
        verbose_name_plural = gettext_lazy("datasets")
        constraints = [
            models.UniqueConstraint(
                fields=["source", "uri"],
                condition=Q(state__in=OPEN_STATES, is_forced=False),
                name="one_ingest_at_a_time_per_object",
            ),
            models.UniqueConstraint(
                fields=["source", "uri", "sha256", *INGEST_OPTIONS],
                condition=Q(state=State.SUCCEEDED, source__isnull=False, is_forced=False),
                name=UNIQUE_CONTENT,
            ),
        ]

    @property
    def title(self) -> Message:
        return Message("Dataset %(id)s") % {"id": str(self.pk)}

    @property
    def split_method(self) -> str:
        """How the hold-out was drawn, in the reader's language."""
        group = self.split["method"].partition("grouped by ")[2] if self.split else ""
        return _("stratified, grouped by %(group)s") % {"group": group} if group else _("stratified")

    @property
    def address(self) -> str:
        """The address without its password."""
        return transports.redact(self.uri)

    @property
    def audited_inputs(self) -> dict[str, object]:
        return {name: value for name, value in super().audited_inputs.items() if name != "uri"} | {
            "address": self.address
        }

    @property
    def table_fields(self) -> tuple[Field, ...]:
        """The fields that are read from its table."""
        return (KEY_FIELD, *FIELDS, *((LABEL_FIELD,) if self.has_label else ()))

    @property
    def required_columns(self) -> list[str]:
        """Names of the columns that its table must have; without a key column, the line number is the key."""
        return [field.name for field in self.table_fields if field.is_required and field.name != KEY]

    @property
    def previous(self) -> "Dataset | None":
        """The dataset before this one, of the same source if it has one."""
        earlier = Dataset.objects.succeeded().filter(pk__lt=self.pk, profile__isnull=False)
        return earlier.filter(source=self.source).first() if self.source else earlier.first()


class PassengerQuerySet(models.QuerySet["Passenger"]):
    """Passengers in the order of their table."""

    def of(self, dataset: Dataset, *, revision: int | None = None) -> Self:
        """Select the dataset's passengers up to a revision, in the file's order: that of every matrix made of them."""
        rows = self.filter(dataset=dataset).order_by("line_number")
        return rows if revision is None else rows.filter(revision__lte=revision)

    def chunks(self) -> Iterator[tuple[list[str], Columns]]:
        """Yield keys and typed columns of `_CHUNK_ROWS` passengers at a time, in bounded memory."""
        rows = self.values_list(KEY, *FIELD_NAMES).iterator(chunk_size=_CHUNK_ROWS)
        while chunk := list(islice(rows, _CHUNK_ROWS)):
            yield [row[0] for row in chunk], columns_from_rows([row[1:] for row in chunk])


class Passenger(LabelledPassenger):
    """One valid row of a dataset. The table has a partition for each dataset: see `ingestion.partitions`."""

    # Without index and constraint: a dataset's rows are written into its partition, and dropped with it.
    dataset = models.ForeignKey(
        Dataset, on_delete=models.CASCADE, related_name="passengers", db_constraint=False, db_index=False
    )
    line_number = models.PositiveIntegerField(gettext_lazy("line"))
    is_holdout = models.BooleanField(gettext_lazy("hold-out"), default=False)
    revision = models.PositiveIntegerField(gettext_lazy("revision"), default=0)

    objects = PassengerQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("row")
        verbose_name_plural = gettext_lazy("rows")
        constraints = [
            models.UniqueConstraint(fields=["dataset", "line_number"], name="one_passenger_per_line"),
            models.UniqueConstraint(fields=["dataset", KEY], name="passenger_once_per_dataset"),
        ]

    def __str__(self) -> str:
        return describe(self)

    def get_absolute_url(self) -> str:
        return self.dataset.get_absolute_url()


class RejectedRowQuerySet(models.QuerySet["RejectedRow"]):
    """Rejected rows by what became of them."""

    def open(self) -> Self:
        """Keep those that nobody has corrected."""
        return self.filter(corrected_at=None)


class RejectedRow(models.Model):
    """A rejected row, with its cells as they stood in the table; a person can correct it."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="rejected_rows")
    line_number = models.PositiveIntegerField(gettext_lazy("line"))
    cells = models.JSONField(gettext_lazy("cells"))
    # The corrected row is the passenger of the same dataset and line.
    corrected_at = models.DateTimeField(gettext_lazy("corrected"), null=True)

    objects = RejectedRowQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("rejected row")
        verbose_name_plural = gettext_lazy("rejected rows")
        ordering = ("line_number",)
        constraints = [
            models.UniqueConstraint(fields=["dataset", "line_number"], name="one_rejected_row_per_line"),
        ]

    def __str__(self) -> str:
        return _("Line %(line)s") % {"line": self.line_number}

    def get_absolute_url(self) -> str:
        return reverse("rejected_row", args=[self.dataset_id, self.line_number])

    @property
    def next_open(self) -> "RejectedRow | None":
        """The next row of its table that is still rejected."""
        rows = RejectedRow.objects.open().filter(dataset=self.dataset_id, line_number__gt=self.line_number)
        return rows.order_by("line_number").first()

    @property
    def previous_open(self) -> "RejectedRow | None":
        """The row before it in its table that is still rejected."""
        rows = RejectedRow.objects.open().filter(dataset=self.dataset_id, line_number__lt=self.line_number)
        return rows.order_by("-line_number").first()


class RowSeverity(models.TextChoices):
    """Result of a violation for its row."""

    ERROR = "error", gettext_lazy("Rejected")
    WARNING = "warning", gettext_lazy("Loaded with a warning")


class RowProblemQuerySet(models.QuerySet["RowProblem"]):
    """Violations by what they say."""

    def by_reason(self) -> list[tuple[str, str, int]]:
        """Count the reasons of rejections by column and code, the most frequent first."""
        reasons = self.filter(severity=RowSeverity.ERROR).order_by().values_list("column", "code")
        return list(reasons.annotate(count=models.Count("pk")).order_by("-count", "column", "code")[:MOST_REASONS])


class RowProblem(models.Model):
    """A violation of the contract in a row."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="problems")
    line_number = models.PositiveIntegerField(gettext_lazy("line"))
    column = models.CharField(gettext_lazy("column"), max_length=100)
    value = models.TextField(gettext_lazy("value"), blank=True)
    code = models.CharField(gettext_lazy("code"), max_length=40)
    message = models.CharField(max_length=300)
    params = models.JSONField(default=dict)
    severity = models.CharField(gettext_lazy("severity"), max_length=7, choices=RowSeverity, default=RowSeverity.ERROR)

    objects = RowProblemQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("reason of a rejection")
        verbose_name_plural = gettext_lazy("reasons of rejections")
        ordering = ("line_number", "pk")

    def __str__(self) -> str:
        return f"{self.line_number}, {self.column}: {self.reason}"

    def get_absolute_url(self) -> str:
        return self.dataset.get_absolute_url()

    @property
    def reason(self) -> str:
        """The message in the reader's language."""
        return str(Message(self.message) % self.params)
