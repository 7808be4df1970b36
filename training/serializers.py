"""Versions and training runs as JSON."""

from rest_framework import serializers

from titanic_site.lib.serializers import JOB_FIELDS
from training.models import ModelVersion, TrainingRun


class ModelVersionSerializer(serializers.ModelSerializer[ModelVersion]):
    """A version, its figures and its verdict."""

    feature_batch = serializers.IntegerField(source="run.feature_batch_id", read_only=True)
    metrics = serializers.DictField(read_only=True)
    parameters = serializers.DictField(read_only=True)
    gate = serializers.DictField(read_only=True, allow_null=True)

    class Meta:
        model = ModelVersion
        fields = (
            "version", "stage", "metrics", "sha256", "feature_batch", "threshold", "parameters", "gate",
            "definition_version", "created_at",
        )  # fmt: skip
        read_only_fields = fields


class TrainingRunSerializer(serializers.ModelSerializer[TrainingRun]):
    """A training and, once it has succeeded, its version."""

    version = serializers.IntegerField(source="version.version", read_only=True, allow_null=True, default=None)

    class Meta:
        model = TrainingRun
        fields = (*JOB_FIELDS, "feature_batch", "algorithm", "seed", "version")
        read_only_fields = fields


class TrainingRequest(serializers.Serializer[None]):
    """What to train from; without a batch, the current one."""

    feature_batch = serializers.IntegerField(required=False, min_value=1, max_value=2**53)


class PromotionRequest(serializers.Serializer[None]):
    """Why."""

    reason = serializers.CharField(required=False, allow_blank=True, max_length=300, default="")
