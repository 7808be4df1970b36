"""What was fetched, what was kept of it, and what was refused."""

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ingestion.passenger import PassengerFields
from titanic_site.lib.jobs import Job, JobQuerySet


class Source(models.Model):
    """A place that a passenger table is fetched from again and again."""

    name = models.CharField(gettext_lazy("name"), max_length=100, unique=True)
    uri = models.CharField(gettext_lazy("address"), max_length=500, help_text=gettext_lazy("A file path or an upload."))
    is_enabled = models.BooleanField(gettext_lazy("enabled"), default=True)
    has_label = models.BooleanField(
        gettext_lazy("has the label"), default=True, help_text=gettext_lazy("Whether each row says what happened.")
    )
    largest_problem_share = models.FloatField(
        gettext_lazy("largest share of refused rows"),
        default=0.1,
        help_text=gettext_lazy("Above this share (0 to 1) the whole table is refused."),
    )

    class Meta:
        verbose_name = gettext_lazy("source")
        verbose_name_plural = gettext_lazy("sources")
        constraints = [
            models.CheckConstraint(
                condition=Q(largest_problem_share__gte=0, largest_problem_share__lte=1), name="source_share_is_a_share"
            )
        ]

    def __str__(self) -> str:
        return self.name


class DatasetQuerySet(JobQuerySet["Dataset"]):
    """Datasets in the domain's words."""

    def labelled(self) -> Self:
        """Those a model can learn from."""
        return self.succeeded().filter(has_label=True)


class Dataset(Job):
    """One version of a source's table: fetched, checked, loaded."""

    task_name = "ingestion.tasks.ingest"
    task_argument = "dataset_id"
    inputs = ("source", "name", "uri", "upload", "has_label", "largest_problem_share")
    kind: ClassVar = gettext_lazy("Ingest")

    source = models.ForeignKey(
        Source, verbose_name=gettext_lazy("source"), null=True, blank=True, on_delete=models.SET_NULL
    )
    name = models.CharField(gettext_lazy("name"), max_length=200)
    uri = models.CharField(gettext_lazy("address"), max_length=500)
    upload = models.FileField(gettext_lazy("upload"), upload_to="uploads/%Y/%m", blank=True, max_length=300)
    has_label = models.BooleanField(gettext_lazy("has the label"), default=True)
    largest_problem_share = models.FloatField(gettext_lazy("largest share of refused rows"), default=0.1)
    sha256 = models.CharField(max_length=64, blank=True, db_index=True, editable=False)
    byte_count = models.BigIntegerField(gettext_lazy("bytes"), null=True, editable=False)
    row_count = models.PositiveIntegerField(gettext_lazy("rows"), null=True, editable=False)
    problem_count = models.PositiveIntegerField(gettext_lazy("problems"), null=True, editable=False)
    split = models.JSONField(gettext_lazy("split"), null=True, editable=False)

    objects = DatasetQuerySet.as_manager()

    class Meta(Job.Meta):
        verbose_name = gettext_lazy("dataset")
        verbose_name_plural = gettext_lazy("datasets")

    def __str__(self) -> str:
        return _("Dataset %(id)s") % {"id": self.pk}

    def get_absolute_url(self) -> str:
        return reverse("dataset", args=[self.pk])


class PassengerQuerySet(models.QuerySet["Passenger"]):
    """Passengers in an order that never changes."""

    def of(self, dataset: Dataset) -> Self:
        """The dataset's passengers in the file's order: the order of every matrix made of them."""
        return self.filter(dataset=dataset).order_by("line_number")


class Passenger(PassengerFields):
    """One good row of a dataset."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="passengers")
    line_number = models.PositiveIntegerField(gettext_lazy("line"))
    passenger_id = models.CharField(gettext_lazy("passenger"), max_length=40)
    survived = models.BooleanField(gettext_lazy("survived"), null=True)
    is_holdout = models.BooleanField(gettext_lazy("hold-out"), default=False)

    objects = PassengerQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("passenger")
        verbose_name_plural = gettext_lazy("passengers")
        constraints = [
            models.UniqueConstraint(fields=["dataset", "line_number"], name="one_passenger_per_line"),
            models.UniqueConstraint(fields=["dataset", "passenger_id"], name="passenger_once_per_dataset"),
        ]

    def __str__(self) -> str:
        return self.name or self.passenger_id


class RowProblem(models.Model):
    """A row that was refused, and why."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="problems")
    line_number = models.PositiveIntegerField(gettext_lazy("line"))
    column = models.CharField(gettext_lazy("column"), max_length=100)
    value = models.TextField(gettext_lazy("value"), blank=True)
    code = models.CharField(gettext_lazy("code"), max_length=40)
    message = models.CharField(max_length=300)
    params = models.JSONField(default=dict)

    class Meta:
        verbose_name = gettext_lazy("row problem")
        verbose_name_plural = gettext_lazy("row problems")
        ordering = ("line_number", "pk")

    def __str__(self) -> str:
        return f"{self.line_number}, {self.column}: {self.reason}"

    @property
    def reason(self) -> str:
        """Why, in the reader's language."""
        return str(_(self.message) % self.params)
