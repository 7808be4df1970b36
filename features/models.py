"""Feature batches: which dataset and definition they were made of."""

from collections.abc import Collection
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy

from core.jobs import OPEN_STATES, Job, JobQuerySet
from core.messages import Message
from features.store import StoredBatch
from ingestion.models import Dataset, Passenger, PassengerQuerySet
from ingestion.profiled import Profiled


class FeatureBatchQuerySet(JobQuerySet["FeatureBatch"]):
    """Selections of feature batches."""

    def current(self) -> Self:
        """Select the batch that look-ups read."""
        return self.filter(is_current=True)

    def expirable(self, *, in_use: Collection[int], keep_count: int) -> Self:
        """Select the batches in Redis that are not current, not in use and not among the newest."""
        newest = self.succeeded().order_by("-pk").values_list("pk", flat=True)[:keep_count]
        in_redis = self.filter(expired_at__isnull=True, is_current=False).exclude(state__in=OPEN_STATES)
        return in_redis.exclude(pk__in={*in_use, *newest})


class FeatureBatch(Profiled, Job):
    """The features of one dataset by one version of the definition, kept in Redis and checked by their checksum."""

    task_name = "features.tasks.build"
    task_argument = "batch_id"
    inputs = ("dataset",)
    page = "feature_batch"
    kind: ClassVar = gettext_lazy("Build features")

    dataset = models.ForeignKey(
        Dataset, verbose_name=gettext_lazy("dataset"), on_delete=models.PROTECT, related_name="feature_batches"
    )
    # Rows that were corrected and accepted after it was made are no part of it.
    dataset_revision = models.PositiveIntegerField(gettext_lazy("revision of the dataset"), default=0, editable=False)
    definition_version = models.CharField(gettext_lazy("definition"), max_length=20, blank=True, editable=False)
    row_count = models.PositiveIntegerField(gettext_lazy("rows"), null=True, editable=False)
    checksum = models.CharField(gettext_lazy("checksum"), max_length=64, blank=True, editable=False)
    is_current = models.BooleanField(gettext_lazy("current"), default=False, editable=False)
    # Expired from Redis: it is rebuilt when it is read.
    expired_at = models.DateTimeField(gettext_lazy("expired"), null=True, editable=False)

    objects = FeatureBatchQuerySet.as_manager()

    class Meta(Job.Meta):
        verbose_name = gettext_lazy("feature batch")
        verbose_name_plural = gettext_lazy("feature batches")
        constraints = [
            models.UniqueConstraint(
                fields=["is_current"], condition=Q(is_current=True), name="at_most_one_current_batch"
            )
        ]

    @property
    def title(self) -> Message:
        return Message("Feature batch %(id)s") % {"id": str(self.pk)}

    @property
    def passengers(self) -> PassengerQuerySet:
        """The passengers whose features it holds, in its order."""
        return Passenger.objects.of(self.dataset, revision=self.dataset_revision)

    @property
    def stored(self) -> StoredBatch:
        """Where Redis holds it."""
        return StoredBatch.of(self.pk, checksum=self.checksum)

    @property
    def previous(self) -> "FeatureBatch | None":
        """The newest earlier batch that has a profile."""
        return FeatureBatch.objects.succeeded().filter(profile__isnull=False, pk__lt=self.pk).first()
