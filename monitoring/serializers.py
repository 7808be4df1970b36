"""Drift checks and alerts as JSON."""

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core.api import JOB_FIELDS
from monitoring.models import SUMMARY, Alert, AlertState, DriftCheck, FeatureDrift, PerformanceCheck
from monitoring.performance_report import PerformanceReport


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


class PerformanceCheckSerializer(serializers.ModelSerializer[PerformanceCheck]):
    """A performance check in short; a figure is null where there is nothing to compute it from."""

    model_version = serializers.IntegerField(source="version.version", read_only=True, default=None, allow_null=True)

    class Meta:
        model = PerformanceCheck
        fields: tuple[str, ...] = (*JOB_FIELDS, "model_version", *SUMMARY)
        read_only_fields = fields


@extend_schema_field(PerformanceReport)  # type: ignore[arg-type]  # its extension describes structs
class ReportField(serializers.JSONField):
    """A report as it is stored."""


class PerformanceCheckDetailSerializer(PerformanceCheckSerializer):
    """A performance check with its report, null before it has succeeded."""

    report = ReportField(source="figures", read_only=True, allow_null=True)

    class Meta(PerformanceCheckSerializer.Meta):
        fields = (*PerformanceCheckSerializer.Meta.fields, "report")
        read_only_fields = fields


class AlertSerializer(serializers.ModelSerializer[Alert]):
    """An alert; open while resolved_at is null."""

    state = serializers.ChoiceField(choices=AlertState.choices, read_only=True)
    text = serializers.CharField(source="message", read_only=True)
    acknowledged_by = serializers.CharField(source="acknowledged_by.username", default=None, read_only=True)
    resolved_by = serializers.CharField(source="resolved_by.username", default=None, read_only=True)

    class Meta:
        model = Alert
        fields = (
            "id", "kind", "severity", "state", "subject", "text", "raised_at", "last_seen_at",
            "acknowledged_at", "acknowledged_by", "acknowledged_note", "resolved_at", "resolved_by", "resolved_note",
        )  # fmt: skip
        read_only_fields = fields


class NoteSerializer(serializers.Serializer[dict[str, str]]):
    """What a person says of an alert."""

    note = serializers.CharField(required=False, allow_blank=True, default="", max_length=500)
