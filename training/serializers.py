"""Versions and training runs as JSON."""

import msgspec
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core.api import JOB_FIELDS, JobQuery
from core.moments import MomentField
from training.models import (
    LONGEST_NOTES,
    LONGEST_TAG,
    MOST_TAGS,
    Algorithm,
    ModelVersion,
    Reproduction,
    Stage,
    StageChange,
    TrainingRun,
    default_candidates,
)
from training.training_spec import LARGEST_SEED, MOST_CANDIDATES


class ModelVersionSerializer(serializers.ModelSerializer[ModelVersion]):
    """A version with its metrics and its verdict."""

    feature_batch = serializers.IntegerField(source="run.feature_batch_id", read_only=True)
    metrics = serializers.DictField(read_only=True)
    parameters = serializers.DictField(read_only=True)
    gate = serializers.SerializerMethodField()
    tags = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = ModelVersion
        fields = (
            "version", "stage", "metrics", "sha256", "feature_batch", "threshold", "parameters", "gate",
            "definition_version", "tags", "notes", "created_at",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(serializers.DictField(allow_null=True))
    def get_gate(self, version: ModelVersion) -> dict[str, object] | None:
        """Give the verdict: the names of its checks are codes, their details are in the caller's language."""
        verdict = version.verdict
        if verdict is None:
            return None
        checks = [{"name": check.name, "passed": check.passed, "detail": str(check.detail)} for check in verdict.checks]
        return {**msgspec.to_builtins(verdict), "checks": checks}


class ModelQuery(serializers.Serializer[None]):
    """Selects versions."""

    stage = serializers.ChoiceField(choices=Stage.choices, required=False)
    since = MomentField(source="created_at__gte")
    until = MomentField(source="created_at__lt")


class ArtifactRequest(serializers.Serializer[None]):
    """Which of a version's files to download."""

    format = serializers.ChoiceField(choices=("onnx", "pkl"), default="onnx")


class AnnotationRequest(serializers.Serializer[None]):
    """What people note of a version; what is left out stays."""

    tags = serializers.ListField(
        child=serializers.CharField(max_length=LONGEST_TAG), max_length=MOST_TAGS, required=False
    )
    notes = serializers.CharField(required=False, allow_blank=True, max_length=LONGEST_NOTES)


class TrainingRunSerializer(serializers.ModelSerializer[TrainingRun]):
    """A training and, once it has succeeded, its version."""

    version = serializers.IntegerField(source="version.version", read_only=True, allow_null=True, default=None)
    search = serializers.DictField(read_only=True, allow_null=True)

    class Meta:
        model = TrainingRun
        fields = (*JOB_FIELDS, "feature_batch", "algorithm", "seed", "candidates", "search", "version")
        read_only_fields = fields


class TrainingRunQuery(JobQuery):
    """Selects trainings."""

    algorithm = serializers.ChoiceField(choices=Algorithm.choices, required=False)


class TrainingRequest(serializers.Serializer[None]):
    """What to train; without a feature batch, from the current one."""

    feature_batch = serializers.IntegerField(required=False, min_value=1, max_value=2**53)
    algorithm = serializers.ChoiceField(choices=Algorithm.choices, default=Algorithm.RANDOM_FOREST)
    seed = serializers.IntegerField(default=42, min_value=0, max_value=LARGEST_SEED)
    candidates = serializers.IntegerField(default=default_candidates, min_value=0, max_value=MOST_CANDIDATES)


class StageRequest(serializers.Serializer[None]):
    """The reason for a change of stage."""

    reason = serializers.CharField(required=False, allow_blank=True, max_length=300, default="")


class MomentRequest(serializers.Serializer[None]):
    """A moment of the past."""

    at = MomentField()


class ChampionPeriodSerializer(serializers.Serializer[StageChange]):
    """Which version was the champion from when to when, who promoted it and why."""

    version = serializers.IntegerField(source="version.version")
    since = serializers.DateTimeField(source="at")
    until = serializers.DateTimeField(allow_null=True)
    by = serializers.CharField(allow_null=True)
    reason = serializers.CharField()


class ReproductionSerializer(serializers.ModelSerializer[Reproduction]):
    """A reproduction of a version, and how it compares."""

    version = serializers.IntegerField(source="version.version", read_only=True)
    differences = serializers.ListField(child=serializers.DictField(), read_only=True)

    class Meta:
        model = Reproduction
        fields = (*JOB_FIELDS, "version", "is_equal", "sha256", "differences")
        read_only_fields = fields
