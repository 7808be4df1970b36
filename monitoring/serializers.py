"""Drift checks and alerts as JSON."""

from rest_framework import serializers

from core.api import JOB_FIELDS
from monitoring.models import Alert, DriftCheck, FeatureDrift


class FeatureDriftSerializer(serializers.ModelSerializer[FeatureDrift]):
    """One test."""

    class Meta:
        model = FeatureDrift
        fields = ("name", "test", "statistic", "p_value", "threshold", "effect", "drifted")
        read_only_fields = fields


class DriftCheckSerializer(serializers.ModelSerializer[DriftCheck]):
    """A check: drifted is true, false, or null for "not enough predictions yet"."""

    model_version = serializers.IntegerField(source="version.version", read_only=True, default=None, allow_null=True)
    features = FeatureDriftSerializer(many=True, read_only=True)

    class Meta:
        model = DriftCheck
        fields = (
            *JOB_FIELDS, "drifted", "features", "model_version", "window_size", "window_from", "window_to",
            "reference_size", "false_alarm_rate", "backend",
        )  # fmt: skip
        read_only_fields = fields


class AlertSerializer(serializers.ModelSerializer[Alert]):
    """An alert; open while resolved_at is null."""

    class Meta:
        model = Alert
        fields = ("id", "kind", "subject", "text", "raised_at", "last_seen_at", "resolved_at")
        read_only_fields = fields
