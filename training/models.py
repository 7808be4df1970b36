"""How models were made, and which one is in charge."""

from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from features.models import FeatureBatch
from titanic_site.lib.jobs import Job, JobQuerySet


class TrainingRun(Job):
    """One training from one feature batch; when it succeeds there is a version."""

    task_name = "training.tasks.train"
    task_argument = "run_id"
    queue = "training"
    inputs = ("feature_batch", "algorithm", "seed")
    kind: ClassVar = gettext_lazy("Train")

    feature_batch = models.ForeignKey(
        FeatureBatch,
        verbose_name=gettext_lazy("feature batch"),
        on_delete=models.PROTECT,
        related_name="training_runs",
    )
    algorithm = models.CharField(gettext_lazy("algorithm"), max_length=40, default="random_forest")
    seed = models.PositiveIntegerField(gettext_lazy("seed"), default=42)

    objects = JobQuerySet["TrainingRun"].as_manager()

    class Meta(Job.Meta):
        verbose_name = gettext_lazy("training run")
        verbose_name_plural = gettext_lazy("training runs")

    def __str__(self) -> str:
        return _("Training run %(id)s") % {"id": self.pk}

    def get_absolute_url(self) -> str:
        return reverse("training_run", args=[self.pk])


class Stage(models.TextChoices):
    """A version's place in the registry."""

    CANDIDATE = "candidate", gettext_lazy("Candidate")
    CHALLENGER = "challenger", gettext_lazy("Challenger")
    CHAMPION = "champion", gettext_lazy("Champion")
    RETIRED = "retired", gettext_lazy("Retired")


class ModelVersionQuerySet(models.QuerySet["ModelVersion"]):
    """Versions in the registry's words."""

    def champion(self) -> "ModelVersion | None":
        """The model in charge, or None when there is none yet."""
        return self.filter(stage=Stage.CHAMPION).first()

    def with_history(self) -> Self:
        """With run, batch and dataset, for pages that show where a model comes from."""
        return self.select_related("run__feature_batch__dataset")


class ModelVersion(models.Model):
    """A trained model as complete, checked files, with its figures and its stage."""

    version = models.PositiveIntegerField(gettext_lazy("version"), unique=True)
    run = models.OneToOneField(
        TrainingRun, verbose_name=gettext_lazy("training run"), on_delete=models.PROTECT, related_name="version"
    )
    stage = models.CharField(gettext_lazy("stage"), max_length=10, choices=Stage, default=Stage.CANDIDATE)
    threshold = models.FloatField(gettext_lazy("threshold"), default=0.5)
    metrics = models.JSONField(gettext_lazy("metrics"))
    parameters = models.JSONField(gettext_lazy("parameters"))
    made_with = models.JSONField(gettext_lazy("made with"))
    gate = models.JSONField(gettext_lazy("verdict of the gate"), null=True)
    definition_version = models.CharField(gettext_lazy("definition"), max_length=20)
    onnx_file = models.FileField(gettext_lazy("ONNX file"), max_length=200)
    pkl_file = models.FileField(gettext_lazy("pickle"), max_length=200)
    sha256 = models.CharField(gettext_lazy("SHA-256 of the ONNX file"), max_length=64)
    byte_count = models.PositiveIntegerField(gettext_lazy("bytes"))
    golden_rows = models.JSONField(gettext_lazy("golden rows"))
    created_at = models.DateTimeField(gettext_lazy("created"), auto_now_add=True)

    objects = ModelVersionQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("model version")
        verbose_name_plural = gettext_lazy("model versions")
        ordering = ("-version",)
        get_latest_by = "version"
        constraints = [
            models.UniqueConstraint(fields=["stage"], condition=Q(stage="champion"), name="at_most_one_champion")
        ]

    def __str__(self) -> str:
        return _("Model %(version)s") % {"version": self.version}

    def get_absolute_url(self) -> str:
        return reverse("model", args=[self.version])

    @property
    def feature_batch(self) -> FeatureBatch:
        return self.run.feature_batch


class StageChange(models.Model):
    """Who put which version into which stage, when and why: kept for good."""

    version = models.ForeignKey(
        ModelVersion, verbose_name=gettext_lazy("version"), on_delete=models.PROTECT, related_name="stage_changes"
    )
    before = models.CharField(gettext_lazy("before"), max_length=10, choices=Stage)
    after = models.CharField(gettext_lazy("after"), max_length=10, choices=Stage)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=gettext_lazy("by"), null=True, on_delete=models.SET_NULL
    )
    reason = models.CharField(gettext_lazy("reason"), max_length=300, blank=True)
    at = models.DateTimeField(gettext_lazy("at"), auto_now_add=True)

    class Meta:
        verbose_name = gettext_lazy("stage change")
        verbose_name_plural = gettext_lazy("stage changes")
        ordering = ("-at", "-pk")

    def __str__(self) -> str:
        return f"{self.version}: {self.before} → {self.after}"
