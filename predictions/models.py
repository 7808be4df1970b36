"""What was asked, what was answered."""

from typing import ClassVar, Self
from uuid import UUID

import uuid_utils.compat as uuids
from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ingestion.passenger import PassengerFields, describe
from titanic_site.lib.jobs import Job, JobQuerySet


def new_id() -> UUID:
    """A time-ordered UUID (version 7, RFC 9562): neighbours in time are neighbours in the index."""
    return uuids.uuid7()


class Door(models.TextChoices):
    """Where a passenger came in."""

    FORM = "form", gettext_lazy("Form")
    API = "api", gettext_lazy("API")
    BATCH = "batch", gettext_lazy("API batch")
    CSV = "csv", gettext_lazy("CSV file")


class ScoringJob(Job):
    """A CSV file to be scored row by row."""

    task_name = "predictions.tasks.score"
    task_argument = "job_id"
    queue = "scoring"
    inputs = ("upload", "name", "created_by")
    kind: ClassVar = gettext_lazy("Score a file")

    name = models.CharField(gettext_lazy("name"), max_length=200)
    upload = models.FileField(gettext_lazy("file"), upload_to="scoring/%Y/%m", max_length=300)
    results = models.FileField(gettext_lazy("results"), upload_to="scoring/%Y/%m", max_length=300, blank=True)
    row_count = models.PositiveIntegerField(gettext_lazy("rows"), null=True, editable=False)
    problem_count = models.PositiveIntegerField(gettext_lazy("problems"), null=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=gettext_lazy("by"), null=True, blank=True, on_delete=models.SET_NULL
    )

    objects = JobQuerySet["ScoringJob"].as_manager()

    class Meta(Job.Meta):
        verbose_name = gettext_lazy("scoring job")
        verbose_name_plural = gettext_lazy("scoring jobs")

    def __str__(self) -> str:
        return _("Scoring job %(id)s") % {"id": self.pk}

    def get_absolute_url(self) -> str:
        return reverse("scoring_job", args=[self.pk])


class PredictionQuerySet(models.QuerySet["Prediction"]):
    """Predictions in the words of those who look back at them."""

    def newest(self, count: int) -> Self:
        """The last `count`, newest first."""
        return self.order_by("-id")[:count]


class Prediction(PassengerFields):
    """One passenger as it was asked, and the answer as it was given."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    model_version = models.PositiveIntegerField(gettext_lazy("model"))
    probability = models.FloatField(gettext_lazy("probability"))
    threshold = models.FloatField(gettext_lazy("threshold"))
    survived = models.BooleanField(gettext_lazy("survived"))
    source = models.CharField(gettext_lazy("door"), max_length=5, choices=Door)
    # No foreign keys: the log is written by COPY, and a row must never be lost because another was deleted.
    scoring_job_id = models.BigIntegerField(gettext_lazy("scoring job"), null=True, db_index=True)
    created_at = models.DateTimeField(gettext_lazy("created"))

    objects = PredictionQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("prediction")
        verbose_name_plural = gettext_lazy("predictions")
        ordering = ("-id",)

    def __str__(self) -> str:
        return str(self.id)

    def get_absolute_url(self) -> str:
        return reverse("prediction", args=[self.id])

    @property
    def summary(self) -> str:
        """The passenger in a few words."""
        return describe(self)
