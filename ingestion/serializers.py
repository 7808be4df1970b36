"""Datasets as JSON."""

from rest_framework import serializers

from core.api import JOB_FIELDS
from ingestion.models import Dataset, RowProblem


class DatasetSerializer(serializers.ModelSerializer[Dataset]):
    """A dataset and the state of its ingest."""

    source = serializers.CharField(source="address", read_only=True)  # type: ignore[assignment]
    split = serializers.DictField(read_only=True, allow_null=True)
    profile = serializers.DictField(read_only=True, allow_null=True)

    class Meta:
        model = Dataset
        fields = (
            *JOB_FIELDS, "name", "source", "version", "sha256", "row_count", "problem_count", "warning_count", "split",
            "profile", "revision", "archived_at",
        )  # fmt: skip
        read_only_fields = fields


class RowProblemSerializer(serializers.ModelSerializer[RowProblem]):
    """A reason why a row was rejected or has a warning."""

    reason = serializers.CharField(read_only=True)

    class Meta:
        model = RowProblem
        fields = ("line_number", "column", "value", "code", "severity", "reason")
        read_only_fields = fields


class AddressSerializer(serializers.Serializer[None]):
    """The address of a table."""

    uri = serializers.CharField(max_length=1000, help_text="gs://bucket/object, https://… or a file in the inbox.")
