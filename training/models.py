"""Training runs, model versions and their stages."""

from datetime import datetime
from typing import ClassVar, NamedTuple, Self

import msgspec
from django.conf import settings
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import OuterRef, Q, Subquery
from django.urls import reverse
from django.utils.translation import gettext_lazy

from core.jobs import Job, JobQuerySet
from core.messages import Message
from features.models import FeatureBatch
from ingestion.models import Dataset
from training.metrics import CrossValidation, Metrics, Verdict
from training.training_data import GoldenRow
from training.training_spec import LARGEST_SEED, MOST_CANDIDATES, SearchProgress, TrainingSpec

MOST_TAGS, LONGEST_TAG, LONGEST_NOTES = 10, 40, 4000


def default_candidates() -> int:
    """Return how many sets of hyper-parameters a training tries unless told otherwise."""
    return settings.TRAINING_CANDIDATES


class Algorithm(models.TextChoices):
    """What can be trained."""

    RANDOM_FOREST = "random_forest", gettext_lazy("Random forest")
    GRADIENT_BOOSTING = "gradient_boosting", gettext_lazy("Gradient boosting")
    LOGISTIC_REGRESSION = "logistic_regression", gettext_lazy("Logistic regression")


class TrainingRun(Job):
    """One training from one feature batch; when it succeeds there is a version."""

    task_name = "training.tasks.train"
    task_argument = "run_id"
    queue = "training"
    inputs = ("feature_batch", "algorithm", "seed", "candidates")
    kind: ClassVar = gettext_lazy("Train")

    feature_batch = models.ForeignKey(
        FeatureBatch,
        verbose_name=gettext_lazy("feature batch"),
        on_delete=models.PROTECT,
        related_name="training_runs",
    )
    algorithm = models.CharField(
        gettext_lazy("algorithm"), max_length=40, choices=Algorithm, default=Algorithm.RANDOM_FOREST
    )
    seed = models.PositiveIntegerField(gettext_lazy("seed"), default=42, validators=[MaxValueValidator(LARGEST_SEED)])
    candidates = models.PositiveIntegerField(
        gettext_lazy("candidates"),
        default=default_candidates,
        validators=[MaxValueValidator(MOST_CANDIDATES)],
        help_text=gettext_lazy("How many sets of hyper-parameters are tried; 0 takes the algorithm's own."),
    )
    # A SearchProgress, while it runs and after.
    search = models.JSONField(null=True, editable=False)

    objects = JobQuerySet["TrainingRun"].as_manager()

    class Meta(Job.Meta):
        verbose_name = gettext_lazy("training run")
        verbose_name_plural = gettext_lazy("training runs")

    @property
    def title(self) -> Message:
        return Message("Training run %(id)s") % {"id": str(self.pk)}

    def get_absolute_url(self) -> str:
        """Return the run's page: what comes of it is a version, which has its own."""
        return reverse("run", args=[self._meta.model_name, self.pk])

    @property
    def spec(self) -> TrainingSpec:
        """What is trained."""
        return TrainingSpec(self.algorithm, self.seed, self.candidates)

    @property
    def search_progress(self) -> SearchProgress | None:
        """How far the search is; None before its first report, and without one."""
        return msgspec.convert(self.search, SearchProgress | None)


class Stage(models.TextChoices):
    """A version's place in the registry."""

    CANDIDATE = "candidate", gettext_lazy("Candidate")
    CHALLENGER = "challenger", gettext_lazy("Challenger")
    CHAMPION = "champion", gettext_lazy("Champion")
    RETIRED = "retired", gettext_lazy("Retired")


class ChampionValidation(NamedTuple):
    """The champion's number and its figures by cross-validation, to compare others with."""

    version: int
    figures: CrossValidation


#: Where rows are listed with their versions, these fields, a hundred times the rest, are not read.
WEIGHTY_OF_VERSION = tuple(
    f"version__{name}" for name in ("metrics", "parameters", "made_with", "gate", "golden_rows", "background")
)


class ModelVersionQuerySet(models.QuerySet["ModelVersion"]):
    """Versions by stage and history."""

    def champion(self) -> "ModelVersion | None":
        """Return the champion, or None when there is none yet."""
        return self.filter(stage=Stage.CHAMPION).first()

    def champion_validation(self) -> ChampionValidation | None:
        """Return the champion's figures by cross-validation, without what weighs a hundred times as much."""
        row = self.filter(stage=Stage.CHAMPION).values_list("version", "metrics__cross_validation").first()
        return row and ChampionValidation(row[0], msgspec.convert(row[1], CrossValidation))

    def with_history(self) -> Self:
        """Load run, batch and dataset too, for pages that show where a model comes from."""
        return self.select_related("run__feature_batch__dataset")

    def judged_on(self, dataset: Dataset) -> Self:
        """Keep those that the gate has judged on the hold-out of a table with this content."""
        return self.filter(run__feature_batch__dataset__sha256=dataset.sha256, gate__isnull=False)

    def challengers(self) -> Self:
        """Keep those that score in the shadow."""
        return self.filter(stage=Stage.CHALLENGER)


class ModelVersion(models.Model):
    """A trained model as complete, checked files, with its metrics and its stage."""

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
    reference_file = models.FileField(gettext_lazy("reference rows"), max_length=200, blank=True)
    sha256 = models.CharField(gettext_lazy("SHA-256 of the ONNX file"), max_length=64)
    byte_count = models.PositiveIntegerField(gettext_lazy("bytes"))
    golden_rows = models.JSONField(gettext_lazy("golden rows"))
    # Training rows that explanations compare with: they stay when their dataset is archived.
    background = models.JSONField(default=list, editable=False)
    # What people note of it; `registry.annotate` records who did.
    tags = models.JSONField(gettext_lazy("tags"), default=list, blank=True)
    notes = models.TextField(gettext_lazy("notes"), max_length=LONGEST_NOTES, blank=True)
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
        return str(self.title)

    @property
    def title(self) -> Message:
        """What it is called, for messages that name it."""
        return Message("Model %(version)s") % {"version": str(self.version)}

    def get_absolute_url(self) -> str:
        return reverse("model", args=[self.version])

    @property
    def evaluation(self) -> Metrics:
        """The metrics, typed."""
        return msgspec.convert(self.metrics, Metrics)

    @property
    def verdict(self) -> Verdict | None:
        """The verdict of the gate, typed; None before it."""
        return msgspec.convert(self.gate, Verdict | None)

    @property
    def golden(self) -> list[GoldenRow]:
        """The golden rows, typed."""
        return msgspec.convert(self.golden_rows, list[GoldenRow])

    @property
    def feature_batch(self) -> FeatureBatch:
        return self.run.feature_batch


class StageChangeQuerySet(models.QuerySet["StageChange"]):
    """Changes by what they lead to."""

    def promotions(self) -> Self:
        """Keep changes to champion, with version and user; each knows `until` when, None for the last one."""
        following = StageChange.objects.filter(after=Stage.CHAMPION, pk__gt=OuterRef("pk")).order_by("pk")
        chosen = self.filter(after=Stage.CHAMPION).annotate(until=Subquery(following.values("at")[:1]))
        return chosen.select_related("version", "by").defer(*WEIGHTY_OF_VERSION)


class StageChange(models.Model):
    """Who moved which version to which stage, when and why: never deleted."""

    version = models.ForeignKey(
        ModelVersion, verbose_name=gettext_lazy("version"), on_delete=models.PROTECT, related_name="stage_changes"
    )
    before = models.CharField(gettext_lazy("before"), max_length=10, choices=Stage)
    after = models.CharField(gettext_lazy("after"), max_length=10, choices=Stage)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=gettext_lazy("by"), null=True, on_delete=models.SET_NULL
    )
    reason = models.CharField(gettext_lazy("reason"), max_length=300, blank=True)
    # A rollback starts no new period: the next rollback goes on from there.
    is_rollback = models.BooleanField(gettext_lazy("rolled back"), default=False)
    at = models.DateTimeField(gettext_lazy("at"), auto_now_add=True)
    # Set by `promotions` alone.
    until: datetime | None

    objects = StageChangeQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("stage change")
        verbose_name_plural = gettext_lazy("stage changes")
        ordering = ("-at", "-pk")

    def __str__(self) -> str:
        return f"{self.version}: {self.before} → {self.after}"

    def get_absolute_url(self) -> str:
        return self.version.get_absolute_url()


class Reproduction(Job):
    """A version trained again from its record, and compared with its file."""

    task_name = "training.tasks.reproduce"
    task_argument = "reproduction_id"
    queue = "training"
    inputs = ("version",)
    page = "reproduction"
    kind: ClassVar = gettext_lazy("Reproduce")

    version = models.ForeignKey(
        ModelVersion, verbose_name=gettext_lazy("version"), on_delete=models.PROTECT, related_name="reproductions"
    )
    is_equal = models.BooleanField(gettext_lazy("equal"), null=True, editable=False)
    sha256 = models.CharField(gettext_lazy("SHA-256 of the ONNX file"), max_length=64, blank=True, editable=False)
    differences = models.JSONField(gettext_lazy("differences"), default=list, editable=False)

    objects = JobQuerySet["Reproduction"].as_manager()

    class Meta(Job.Meta):
        verbose_name = gettext_lazy("reproduction")
        verbose_name_plural = gettext_lazy("reproductions")

    @property
    def title(self) -> Message:
        return Message("Reproduction %(id)s of %(version)s") % {"id": str(self.pk), "version": self.version}
