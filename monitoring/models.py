"""Drift checks and alerts."""

from typing import ClassVar, Self

from django.db import models
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.jobs import Job, JobQuerySet
from training.models import ModelVersion


class DriftCheck(Job):
    """One comparison of a window of predictions with the champion's training data."""

    task_name = "monitoring.tasks.check_drift"
    task_argument = "check_id"
    page = "drift_check"
    kind: ClassVar = gettext_lazy("Check drift")

    version = models.ForeignKey(
        ModelVersion, verbose_name=gettext_lazy("model"), null=True, editable=False, on_delete=models.PROTECT
    )
    # None means: not enough predictions yet.
    drifted = models.BooleanField(gettext_lazy("drifted"), null=True, editable=False)
    window_size = models.PositiveIntegerField(gettext_lazy("window"), null=True, editable=False)
    window_from = models.DateTimeField(gettext_lazy("from"), null=True, editable=False)
    window_to = models.DateTimeField(gettext_lazy("to"), null=True, editable=False)
    reference_size = models.PositiveIntegerField(gettext_lazy("reference"), null=True, editable=False)
    backend = models.CharField(gettext_lazy("backend"), max_length=10, blank=True, editable=False)
    false_alarm_rate = models.FloatField(gettext_lazy("false-alarm rate"), null=True, editable=False)

    objects = JobQuerySet["DriftCheck"].as_manager()

    class Meta(Job.Meta):
        verbose_name = gettext_lazy("drift check")
        verbose_name_plural = gettext_lazy("drift checks")

    def __str__(self) -> str:
        return _("Drift check %(id)s") % {"id": self.pk}


class FeatureDrift(models.Model):
    """One test of one feature within a drift check."""

    drift_check = models.ForeignKey(DriftCheck, on_delete=models.CASCADE, related_name="features")
    name = models.CharField(gettext_lazy("feature"), max_length=100)
    test = models.CharField(gettext_lazy("test"), max_length=40)
    statistic = models.FloatField(gettext_lazy("statistic"))
    p_value = models.FloatField(gettext_lazy("p-value"))
    threshold = models.FloatField(gettext_lazy("threshold"))
    effect = models.FloatField(gettext_lazy("effect size"))
    drifted = models.BooleanField(gettext_lazy("drifted"))

    class Meta:
        verbose_name = gettext_lazy("feature drift")
        verbose_name_plural = gettext_lazy("feature drifts")
        ordering = ("pk",)
        constraints = [
            models.UniqueConstraint(fields=["drift_check", "name", "test"], name="one_test_per_feature_and_check")
        ]

    def __str__(self) -> str:
        return f"{self.name}: p = {self.p_value:.3g}"


class DriftWatch(models.Model):
    """The continuous watch over a model's live inputs: its calibration, the newest predictions, and what they say."""

    class State(models.TextChoices):
        """What the watch says; unknown before enough predictions."""

        UNKNOWN = "unknown", gettext_lazy("Not enough predictions")
        CALM = "calm", gettext_lazy("No drift")
        DRIFT = "drift", gettext_lazy("Drift")

    version = models.OneToOneField(
        ModelVersion, verbose_name=gettext_lazy("model"), on_delete=models.PROTECT, related_name="drift_watch"
    )
    # A `watch.Watch`; None until it is calibrated, or where `error` says why it cannot be.
    calibration = models.JSONField(gettext_lazy("calibration"), null=True, editable=False)
    error = models.TextField(gettext_lazy("error"), blank=True, editable=False)
    calibration_sent_at = models.DateTimeField(null=True, editable=False)
    # When the model became the champion: what it answered in an earlier term is not looked at again.
    promoted_at = models.DateTimeField(gettext_lazy("promoted"), null=True, editable=False)
    state = models.CharField(gettext_lazy("state"), max_length=10, choices=State, default=State.UNKNOWN, editable=False)
    since = models.DateTimeField(gettext_lazy("since"), null=True, editable=False)
    # By feature, the test of the present alarm that exceeded its threshold most: a `watch.Exceedance`.
    exceeding = models.JSONField(gettext_lazy("exceeding"), default=dict, editable=False)
    # The bins of the newest predictions, one byte for each column; the longest window's at most.
    bins = models.BinaryField(default=b"", editable=False)
    last_prediction_id = models.UUIDField(null=True, editable=False)
    prediction_count = models.PositiveBigIntegerField(gettext_lazy("predictions"), default=0, editable=False)
    # Predictions since a test exceeded its threshold: after the longest window's the alarm ends.
    quiet_count = models.PositiveIntegerField(default=0, editable=False)
    looked_at = models.DateTimeField(gettext_lazy("looked"), null=True, editable=False)

    class Meta:
        verbose_name = gettext_lazy("drift watch")
        verbose_name_plural = gettext_lazy("drift watches")
        ordering = ("-version",)

    def __str__(self) -> str:
        return _("Drift watch of %(version)s") % {"version": self.version}


class AlertQuerySet(models.QuerySet["Alert"]):
    """Alerts by how they stand."""

    def open(self) -> Self:
        """Keep those whose reason has not gone."""
        return self.filter(resolved_at=None)

    def open_first(self) -> Self:
        """Order the open ones first, then the resolved, each newest first."""
        return self.order_by(F("resolved_at").desc(nulls_first=True), "-pk")

    def unnotified(self) -> Self:
        """Keep those of which the webhook is to be notified now."""
        return self.filter(notify_at__lte=timezone.now())


class Alert(models.Model):
    """Something that a person should look at: raised once, resolved when the reason is gone."""

    kind = models.CharField(gettext_lazy("kind"), max_length=40)
    subject = models.CharField(gettext_lazy("subject"), max_length=100)
    text = models.TextField(gettext_lazy("text"))
    raised_at = models.DateTimeField(gettext_lazy("raised"), default=timezone.now, editable=False)
    last_seen_at = models.DateTimeField(gettext_lazy("last seen"), default=timezone.now)
    resolved_at = models.DateTimeField(gettext_lazy("resolved"), null=True)
    # When the webhook is to be notified, or tried again; None when it has been.
    notify_at = models.DateTimeField(null=True, editable=False)
    tries = models.PositiveSmallIntegerField(default=0, editable=False)

    objects = AlertQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("alert")
        verbose_name_plural = gettext_lazy("alerts")
        ordering = ("-pk",)
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"], condition=models.Q(resolved_at=None), name="one_open_alert_for_a_reason"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject}"
