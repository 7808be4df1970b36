"""Drift checks and alerts as JSON."""

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core.api import JOB_FIELDS
from core.jobs import State
from core.moments import MomentField
from monitoring.models import SUMMARY, Alert, AlertState, DriftCheck, FeatureDrift, Method, PerformanceCheck
from monitoring.performance_report import PerformanceReport
from predictions.filters import MAX_NUMBER
from predictions.models import Channel
from predictions.serializers import StrictBooleanField


class DistributionSerializer(serializers.Serializer[dict[str, object]]):
    """The counts that a test compares, in bins that reference and window share."""

    edges = serializers.ListField(child=serializers.FloatField(), help_text="limits of the bins of a number")
    categories = serializers.ListField(child=serializers.CharField(), help_text="empty: values unknown in training")
    reference = serializers.ListField(child=serializers.IntegerField())
    window = serializers.ListField(child=serializers.IntegerField())
    psi = serializers.FloatField(help_text="population stability index")
    wasserstein = serializers.FloatField(allow_null=True, help_text="in the feature's own unit")


class FeatureDriftSerializer(serializers.ModelSerializer[FeatureDrift]):
    """One test."""

    distribution = DistributionSerializer(allow_null=True, read_only=True)

    class Meta:
        model = FeatureDrift
        fields = ("name", "test", "statistic", "p_value", "threshold", "effect", "drifted", "distribution")
        read_only_fields = fields


class QualitySerializer(serializers.Serializer[dict[str, object]]):
    """Shares of the window's rows, for one feature: unknown, and outside of what the training rows have."""

    name = serializers.CharField()
    missing = serializers.FloatField()
    missing_in_reference = serializers.FloatField()
    unseen = serializers.FloatField()
    below = serializers.FloatField()
    above = serializers.FloatField()


class DriftCheckSerializer(serializers.ModelSerializer[DriftCheck]):
    """A check: drifted is true, false, or null for "not enough predictions yet"."""

    model_version = serializers.IntegerField(source="version.version", read_only=True, default=None, allow_null=True)
    channel = serializers.CharField(read_only=True, help_text="empty: all channels")
    features = FeatureDriftSerializer(many=True, read_only=True)
    quality = QualitySerializer(many=True, read_only=True)

    class Meta:
        model = DriftCheck
        fields = (
            *JOB_FIELDS, "method", "drifted", "features", "quality", "model_version", "channel", "since", "until",
            "scoring_job", "window_size", "sampled_from", "window_from", "window_to", "reference_size",
            "false_alarm_rate", "backend",
        )  # fmt: skip
        read_only_fields = fields


class PerformanceCheckSerializer(serializers.ModelSerializer[PerformanceCheck]):
    """A performance check in short; a figure is null where there is nothing to compute it from."""

    model_version = serializers.IntegerField(source="version.version", read_only=True, default=None, allow_null=True)

    class Meta:
        model = PerformanceCheck
        fields: tuple[str, ...] = (*JOB_FIELDS, "model_version", "without_anonymous", *SUMMARY)
        read_only_fields = fields


class PerformanceCheckRequestSerializer(serializers.Serializer[None]):
    """What to check."""

    without_anonymous = StrictBooleanField(
        default=False, help_text="Leave out requests of people who had not signed in, where people sign in."
    )


@extend_schema_field(PerformanceReport)  # type: ignore[arg-type]  # its extension describes structs
class ReportField(serializers.JSONField):
    """A report as it is stored."""


class PerformanceCheckDetailSerializer(PerformanceCheckSerializer):
    """A performance check with its report, null before it has succeeded."""

    report = ReportField(source="figures", read_only=True, allow_null=True)

    class Meta(PerformanceCheckSerializer.Meta):
        fields = (*PerformanceCheckSerializer.Meta.fields, "report")
        read_only_fields = fields


class WindowSerializer(serializers.Serializer[dict[str, object]]):
    """What a check compares: without any of these, the champion's newest live predictions."""

    model_version = serializers.IntegerField(required=False, min_value=1, max_value=MAX_NUMBER)
    channel = serializers.ChoiceField(choices=Channel.live(), required=False)
    since = MomentField()
    until = MomentField()
    method = serializers.ChoiceField(choices=Method.choices, required=False)


class StateQuery(serializers.Serializer[None]):
    """Selects checks by their state, beside what the page's form selects."""

    state = serializers.ChoiceField(choices=State.choices, required=False)


class AlertTimeQuery(serializers.Serializer[None]):
    """Selects alerts by when they were raised, beside what the page's form selects."""

    since = MomentField(source="raised_at__gte")
    until = MomentField(source="raised_at__lt")


class AlertSerializer(serializers.ModelSerializer[Alert]):
    """An alert; open while resolved_at is null."""

    state = serializers.ChoiceField(choices=AlertState.choices, read_only=True)
    subject = serializers.CharField(read_only=True)
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
