"""Drift checks, alerts and their rules."""

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Self

import msgspec
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework.request import Request

from core.fields import MessageField
from core.jobs import Job, JobQuerySet
from core.messages import Message
from monitoring.alert_kinds import DEFAULTS, Kind, Severity
from monitoring.performance_report import PerformanceReport
from predictions.models import Channel, ScoringJob
from training.models import ModelVersion, Stage, TrainingRun

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


class Method(models.TextChoices):
    """How a check compares."""

    UNIVARIATE = "univariate", gettext_lazy("Each feature by itself")
    MULTIVARIATE = "multivariate", gettext_lazy("All features together")


class DriftCheckQuerySet(JobQuerySet["DriftCheck"]):
    """Checks by what they compare."""

    def visible_to(self, request: HttpRequest | Request) -> Self:
        """Leave out the reports of files that the request may not see."""
        files = ScoringJob.objects.visible_to(request)
        return self.filter(Q(scoring_job=None) | Q(scoring_job__in=files.values("pk")))

    def live(self) -> Self:
        """Keep checks of live predictions."""
        return self.filter(scoring_job=None)

    def routine(self) -> Self:
        """Keep checks of the champion's newest live predictions, as the schedule starts them."""
        return self.live().filter(method=Method.UNIVARIATE, channel="", since=None, until=None)


class DriftCheck(Job):
    """One comparison of a window of predictions with the training rows of the model that answered them."""

    task_name = "monitoring.tasks.check_drift"
    task_argument = "check_id"
    inputs = ("method", "version", "channel", "since", "until", "scoring_job")
    page = "drift_check"
    kind: ClassVar = gettext_lazy("Check drift")

    method = models.CharField(
        gettext_lazy("method"), max_length=12, choices=Method, default=Method.UNIVARIATE, editable=False
    )
    version = models.ForeignKey(
        ModelVersion, verbose_name=gettext_lazy("model"), null=True, editable=False, on_delete=models.PROTECT
    )
    # Which live predictions: those of all channels, and the newest, unless it says otherwise.
    channel = models.CharField(
        gettext_lazy("channel"), max_length=5, choices=Channel.live(), blank=True, editable=False
    )
    since = models.DateTimeField(gettext_lazy("since"), null=True, editable=False)
    until = models.DateTimeField(gettext_lazy("until"), null=True, editable=False)
    # Or those of a file, whose report goes when the file does.
    scoring_job = models.ForeignKey(
        ScoringJob,
        verbose_name=gettext_lazy("scoring job"),
        null=True,
        editable=False,
        on_delete=models.CASCADE,
        related_name="drift_checks",
    )
    # None means: not enough predictions yet.
    drifted = models.BooleanField(gettext_lazy("drifted"), null=True, editable=False)
    window_size = models.PositiveIntegerField(gettext_lazy("window"), null=True, editable=False)
    window_from = models.DateTimeField(gettext_lazy("from"), null=True, editable=False)
    window_to = models.DateTimeField(gettext_lazy("to"), null=True, editable=False)
    reference_size = models.PositiveIntegerField(gettext_lazy("reference"), null=True, editable=False)
    backend = models.CharField(gettext_lazy("backend"), max_length=10, blank=True, editable=False)
    false_alarm_rate = models.FloatField(gettext_lazy("false-alarm rate"), null=True, editable=False)

    # Of how many predictions the window is a sample.
    sampled_from = models.PositiveBigIntegerField(gettext_lazy("sample of"), null=True, editable=False)
    # What is missing or unseen in the window, by feature: `drift.Quality`.
    quality = models.JSONField(gettext_lazy("data quality"), default=list, editable=False)

    objects = DriftCheckQuerySet.as_manager()

    class Meta(Job.Meta):
        verbose_name = gettext_lazy("drift check")
        verbose_name_plural = gettext_lazy("drift checks")

    @property
    def title(self) -> Message:
        return Message("Drift check %(id)s") % {"id": str(self.pk)}


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
    # A `drift.Distribution`; None for tests that have none.
    distribution = models.JSONField(gettext_lazy("distribution"), null=True, editable=False)

    class Meta:
        verbose_name = gettext_lazy("feature drift")
        verbose_name_plural = gettext_lazy("feature drifts")
        ordering = ("pk",)
        constraints = [
            models.UniqueConstraint(fields=["drift_check", "name", "test"], name="one_test_per_feature_and_check")
        ]

    def __str__(self) -> str:
        return f"{self.name}: p = {self.p_value:.3g}"

    def get_absolute_url(self) -> str:
        return self.drift_check.get_absolute_url()


class DriftWatchQuerySet(models.QuerySet["DriftWatch"]):
    """Watches by model."""

    def of_champion(self) -> "DriftWatch | None":
        """Return the champion's; None before it is looked at."""
        return self.filter(version__stage=Stage.CHAMPION).select_related("version").first()


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
    error = MessageField(gettext_lazy("error"), blank=True, editable=False)
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

    objects = DriftWatchQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("drift watch")
        verbose_name_plural = gettext_lazy("drift watches")
        ordering = ("-version",)

    def __str__(self) -> str:
        return _("Drift watch of %(version)s") % {"version": self.version}


class AlertRuleQuerySet(models.QuerySet["AlertRule"]):
    """The rules."""

    def create_missing(self) -> None:
        """Make the rule of each kind that has none; what a person edited stays."""
        rules = [
            AlertRule(
                kind=kind,
                is_enabled=default.is_enabled,
                severity=default.severity,
                threshold=default.threshold,
                delay_seconds=default.delay_seconds,
            )
            for kind, default in DEFAULTS.items()
        ]
        self.bulk_create(rules, ignore_conflicts=True)


class AlertRule(models.Model):
    """When alerts of one kind are raised, and whom they reach: edited by operators."""

    kind = models.CharField(gettext_lazy("kind"), max_length=40, choices=Kind, unique=True, editable=False)
    is_enabled = models.BooleanField(gettext_lazy("enabled"), default=True)
    severity = models.CharField(gettext_lazy("severity"), max_length=10, choices=Severity, default=Severity.WARNING)
    threshold = models.FloatField(
        gettext_lazy("threshold"), null=True, blank=True, validators=[MinValueValidator(0), MaxValueValidator(1e6)]
    )
    delay_seconds = models.PositiveIntegerField(
        gettext_lazy("delay in seconds"),
        default=0,
        validators=[MaxValueValidator(7 * 86_400)],
        help_text=gettext_lazy("How long the reason must hold before an alert is raised."),
    )
    cooldown_minutes = models.PositiveIntegerField(
        gettext_lazy("cool-down in minutes"),
        default=5,
        validators=[MaxValueValidator(7 * 1440)],
        help_text=gettext_lazy("How long after an alert is resolved none is raised for the same reason."),
    )
    silenced_until = models.DateTimeField(
        gettext_lazy("silenced until"),
        null=True,
        blank=True,
        help_text=gettext_lazy("Until then alerts are shown and nobody is notified (UTC)."),
    )
    retrains = models.BooleanField(
        gettext_lazy("retrain"),
        default=False,
        help_text=gettext_lazy(
            "While an alert is open, load what is new at the sources and train on it, if it is other data than before. "
            "The gate decides on the new model as always."
        ),
    )
    retrain_pause_hours = models.PositiveIntegerField(
        gettext_lazy("pause between retrainings in hours"),
        default=6,
        validators=[MinValueValidator(1), MaxValueValidator(24 * 366)],
        help_text=gettext_lazy("Counted from the last one by this rule, also from one that found no new data."),
    )
    most_retrainings = models.PositiveSmallIntegerField(
        gettext_lazy("most trainings a day"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(24)],
        help_text=gettext_lazy("By all rules together."),
    )

    objects = AlertRuleQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("alert rule")
        verbose_name_plural = gettext_lazy("alert rules")
        ordering = ("pk",)

    def __str__(self) -> str:
        return str(self.get_kind_display())

    def get_absolute_url(self) -> str:
        return reverse("alert_rule", args=[self.pk])

    @property
    def threshold_label(self) -> "StrOrPromise":
        """What the threshold counts; empty where the kind has none."""
        return DEFAULTS[Kind(self.kind)].threshold_label

    @property
    def may_retrain(self) -> bool:
        """Whether its alerts may start a retraining."""
        return DEFAULTS[Kind(self.kind)].may_retrain

    @property
    def advice(self) -> "StrOrPromise":
        """What to do about an alert."""
        return DEFAULTS[Kind(self.kind)].advice

    @property
    def silence(self) -> datetime | None:
        """Until when it is silenced; None where it is not."""
        is_silenced = self.silenced_until is not None and self.silenced_until > timezone.now()
        return self.silenced_until if is_silenced else None


class AlertState(models.TextChoices):
    """How an alert stands."""

    OPEN = "open", gettext_lazy("Open")
    ACKNOWLEDGED = "acknowledged", gettext_lazy("Acknowledged")
    RESOLVED = "resolved", gettext_lazy("Resolved")


#: What lists and metrics show of a performance check.
SUMMARY = ("outcome_count", "accuracy", "brier", "estimated_accuracy", "known_share")


class PerformanceCheckQuerySet(JobQuerySet["PerformanceCheck"]):
    """Checks by what they measured."""

    def newest_of(self, versions: Collection[int]) -> Self:
        """Keep the newest check of each version that has outcomes; each knows its `measured` accuracy, an Estimate."""
        checks = self.succeeded().filter(version__version__in=versions, without_anonymous=False, outcome_count__gt=0)
        newest = checks.order_by("version_id", "-pk").distinct("version_id")
        # Charts and slices weigh a hundred times what is shown; the figures of the older ones are not opened.
        shown = (
            self.filter(pk__in=newest.values("pk")).select_related("version").only("outcome_count", "version__version")
        )
        return shown.annotate(measured=F("figures__overall__figures__accuracy"))


class PerformanceCheck(Job):
    """The champion measured on the latest outcomes, and estimated on the latest predictions."""

    task_name = "monitoring.tasks.check_performance"
    task_argument = "check_id"
    inputs = ("without_anonymous",)
    page = "performance_check"
    kind: ClassVar = gettext_lazy("Check performance")

    version = models.ForeignKey(
        ModelVersion, verbose_name=gettext_lazy("model"), null=True, editable=False, on_delete=models.PROTECT
    )
    without_anonymous = models.BooleanField(gettext_lazy("without anonymous requests"), default=False)
    # A PerformanceReport; the fields below are from it.
    figures = models.JSONField(gettext_lazy("figures"), null=True, editable=False)
    outcome_count = models.PositiveIntegerField(gettext_lazy("outcomes"), null=True, editable=False)
    accuracy = models.FloatField(gettext_lazy("accuracy"), null=True, editable=False)
    brier = models.FloatField(gettext_lazy("Brier score"), null=True, editable=False)
    estimated_accuracy = models.FloatField(gettext_lazy("estimated accuracy"), null=True, editable=False)
    known_share = models.FloatField(gettext_lazy("share of outcomes known"), null=True, editable=False)

    objects = PerformanceCheckQuerySet.as_manager()

    class Meta(Job.Meta):
        verbose_name = gettext_lazy("performance check")
        verbose_name_plural = gettext_lazy("performance checks")

    @property
    def title(self) -> Message:
        return Message("Performance check %(id)s") % {"id": str(self.pk)}

    @property
    def evaluation(self) -> PerformanceReport | None:
        """All figures, typed; None before the check has succeeded."""
        return msgspec.convert(self.figures, PerformanceReport | None)


class AlertQuerySet(models.QuerySet["Alert"]):
    """Alerts by how they stand."""

    def open(self) -> Self:
        """Keep those that are not resolved, acknowledged or not."""
        return self.filter(resolved_at=None)

    def holding(self) -> Self:
        """Keep those whose reason held at the last evaluation."""
        return self.filter(Q(resolved_at=None) | Q(is_dismissed=True))

    def in_state(self, state: str) -> Self:
        """Keep those that stand so."""
        if state == AlertState.RESOLVED:
            return self.exclude(resolved_at=None)
        return self.open().filter(acknowledged_at__isnull=state == AlertState.OPEN)

    def open_first(self) -> Self:
        """Order the open ones first, then the resolved, each newest first."""
        return self.order_by(F("resolved_at").desc(nulls_first=True), "-pk")


class Alert(models.Model):
    """Something that a person should look at: raised once, resolved when the reason is gone or by a person."""

    kind = models.CharField(gettext_lazy("kind"), max_length=40)
    severity = models.CharField(gettext_lazy("severity"), max_length=10, choices=Severity, default=Severity.WARNING)
    subject = MessageField(gettext_lazy("subject"))
    # The column's name, and `parameters`, a column that is not used any more, are what earlier versions read and write.
    message = MessageField(gettext_lazy("text"), db_column="text")
    raised_at = models.DateTimeField(gettext_lazy("raised"), default=timezone.now, editable=False)
    last_seen_at = models.DateTimeField(gettext_lazy("last seen"), default=timezone.now)
    acknowledged_at = models.DateTimeField(gettext_lazy("acknowledged"), null=True, editable=False)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=gettext_lazy("acknowledged by"), null=True, editable=False,
        on_delete=models.SET_NULL, related_name="+",
    )  # fmt: skip
    acknowledged_note = models.CharField(gettext_lazy("note"), max_length=500, blank=True, editable=False)
    resolved_at = models.DateTimeField(gettext_lazy("resolved"), null=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=gettext_lazy("resolved by"), null=True, editable=False,
        on_delete=models.SET_NULL, related_name="+",
    )  # fmt: skip
    resolved_note = models.CharField(gettext_lazy("note"), max_length=500, blank=True, editable=False)
    # A person resolved it while its reason holds: none is raised for the same reason before that is gone.
    is_dismissed = models.BooleanField(default=False, editable=False)

    objects = AlertQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("alert")
        verbose_name_plural = gettext_lazy("alerts")
        ordering = ("-pk",)
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"],
                condition=Q(resolved_at=None) | Q(is_dismissed=True),
                name="one_open_alert_for_a_reason",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject}"

    def get_absolute_url(self) -> str:
        return reverse("alert", args=[self.pk])

    @property
    def state(self) -> AlertState:
        if self.resolved_at:
            return AlertState.RESOLVED
        return AlertState.ACKNOWLEDGED if self.acknowledged_at else AlertState.OPEN

    @property
    def title(self) -> Message:
        """What it is about."""
        return self.subject

    @property
    def kind_label(self) -> str:
        """The kind in the reader's language."""
        return str(dict(Kind.choices).get(self.kind, self.kind))


class DeliveryChannel(models.TextChoices):
    """How people are notified of alerts."""

    EMAIL = "email", gettext_lazy("E-mail")
    WEBHOOK = "webhook", gettext_lazy("Webhook")


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    """Tries by how they stand."""

    def due(self) -> Self:
        """Keep those that are to be made now."""
        return self.filter(tried_at=None, due_at__lte=timezone.now())


class Delivery(models.Model):
    """One try to notify of alerts by a channel; a try that fails is followed by a row for the next one."""

    alerts = models.ManyToManyField(Alert, verbose_name=gettext_lazy("alerts"), related_name="deliveries")
    channel = models.CharField(gettext_lazy("channel"), max_length=10, choices=DeliveryChannel)
    is_resolved = models.BooleanField(gettext_lazy("resolved"), default=False)
    number = models.PositiveSmallIntegerField(gettext_lazy("try"), default=1)
    due_at = models.DateTimeField(gettext_lazy("due"), default=timezone.now)
    tried_at = models.DateTimeField(gettext_lazy("tried"), null=True)
    error = models.CharField(gettext_lazy("error"), max_length=200, blank=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("delivery")
        verbose_name_plural = gettext_lazy("deliveries")
        ordering = ("-pk",)
        indexes = [models.Index(fields=["due_at"], condition=Q(tried_at=None), name="delivery_due")]

    def __str__(self) -> str:
        return f"{self.get_channel_display()} {self.number}"


class LiveFigures(models.Model):
    """Counters as they stood at the end of a step of ten minutes, of one machine: differences make the time series.

    The last row of a machine is written again and again until its step is over, so that nothing is counted twice.
    """

    node = models.CharField(max_length=200)
    at = models.DateTimeField()
    # Of all machines, and those of them that are positive; rows of files are no traffic.
    prediction_count = models.PositiveBigIntegerField()
    positive_count = models.PositiveBigIntegerField()
    # Of this machine's web processes since they started: responses, server errors, and how many took how long,
    # in the buckets of PROMETHEUS_LATENCY_BUCKETS.
    request_count = models.PositiveBigIntegerField()
    error_count = models.PositiveBigIntegerField()
    latency_counts = ArrayField(models.PositiveBigIntegerField())
    # Features that have drifted, says the watch; None before it can tell.
    drifted_count = models.PositiveSmallIntegerField(null=True)

    class Meta:
        verbose_name = gettext_lazy("live figures")
        verbose_name_plural = gettext_lazy("live figures")
        constraints = [models.UniqueConstraint(fields=["at", "node"], name="one_row_by_step_and_node")]

    def __str__(self) -> str:
        return f"{self.node} {self.at:%Y-%m-%d %H:%M}"


class Retraining(models.Model):
    """One retraining that started by itself: by which alert, or by schedule, and what came of it."""

    alert = models.ForeignKey(
        Alert, verbose_name=gettext_lazy("alert"), null=True, on_delete=models.SET_NULL, related_name="retrainings"
    )
    # Its alert's: it outlives the alert. Empty by schedule.
    kind = models.CharField(gettext_lazy("kind"), max_length=40, blank=True)
    started_at = models.DateTimeField(gettext_lazy("started"), default=timezone.now)
    finished_at = models.DateTimeField(gettext_lazy("finished"), null=True)
    # None where the data were those of the last training, or could not be loaded.
    run = models.ForeignKey(
        TrainingRun, verbose_name=gettext_lazy("training run"), null=True, on_delete=models.CASCADE,
        related_name="retrainings",
    )  # fmt: skip
    error = MessageField(gettext_lazy("error"), blank=True)

    class Meta:
        verbose_name = gettext_lazy("retraining")
        verbose_name_plural = gettext_lazy("retrainings")
        ordering = ("-pk",)

    def __str__(self) -> str:
        return _("Retraining %(id)s") % {"id": self.pk}
