"""Datasets as JSON."""

from collections.abc import Mapping

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core.api import JOB_FIELDS
from core.uploads import FlagField, UploadSerializer
from ingestion.models import Dataset, RowProblem, RowSeverity, validate_headings, validate_markers
from ingestion.passenger import KEY, LABEL
from ingestion.reading import of_json
from ingestion.schema import FIELD_NAMES

_WORD = {"type": "string", "pattern": "^[ -~]{1,200}$"}


@extend_schema_field({"type": "object", "additionalProperties": True, "nullable": True})
class ReadingField(serializers.ReadOnlyField):
    """How a table was read: format, headings, what was assumed, spelt anew and rejected, and all that in sentences."""

    def to_representation(self, value: Mapping[str, object]) -> dict[str, object]:
        report = of_json(value)
        return {**value, "warnings": list(map(str, report.warnings)), "notes": list(map(str, report.notes))}


class DatasetSerializer(serializers.ModelSerializer[Dataset]):
    """A dataset and the state of its ingest."""

    source = serializers.CharField(source="address", read_only=True)  # type: ignore[assignment]
    split = serializers.DictField(read_only=True, allow_null=True)
    profile = serializers.DictField(read_only=True, allow_null=True)
    reading = ReadingField()

    class Meta:
        model = Dataset
        fields = (
            *JOB_FIELDS, "name", "source", "version", "sha256", "row_count", "problem_count", "warning_count", "split",
            "profile", "reading", "revision", "archived_at",
        )  # fmt: skip
        read_only_fields = fields


class RowProblemSerializer(serializers.ModelSerializer[RowProblem]):
    """A reason why a row was rejected or has a warning."""

    reason = serializers.CharField(read_only=True)

    class Meta:
        model = RowProblem
        fields = ("line_number", "column", "value", "code", "severity", "reason")
        read_only_fields = fields


class RowProblemQuery(serializers.Serializer[None]):
    """Selects reasons."""

    severity = serializers.ChoiceField(choices=RowSeverity.choices, required=False)
    code = serializers.RegexField("^[a-z_]+$", required=False, max_length=40)
    column = serializers.RegexField("^[A-Za-z0-9_]+$", required=False, max_length=100)


class OptionField(serializers.JSONField):
    """A value as JSON, in a form too."""

    def to_internal_value(self, data: object) -> object:  # type: ignore[override]  # a form sends a text
        try:
            return super().to_internal_value(data)  # type: ignore[arg-type]
        except RecursionError:
            self.fail("invalid")


@extend_schema_field(
    {
        "type": "object",
        "properties": dict.fromkeys((KEY, LABEL, *FIELD_NAMES), _WORD),
        "additionalProperties": False,
    }
)
class HeadingsField(OptionField):
    """Headings by column."""


@extend_schema_field({"type": "array", "items": _WORD, "maxItems": 100})
class MarkersField(OptionField):
    """A list of markers."""


class ReadingOptionsSerializer(serializers.Serializer[None]):
    """How a table is read, where it is not as usual."""

    headings = HeadingsField(
        required=False,
        validators=[validate_headings],
        help_text='Columns with another heading than their name, as {"column": "heading"}.',
    )
    markers = MarkersField(
        required=False,
        validators=[validate_markers],
        help_text='Cells that mean unknown, as ["NA", "?"], instead of the usual ones.',
    )
    ignores_headings = FlagField(
        required=False, help_text="Do not fail where a heading is not known and a column is missing."
    )
    largest_problem_share = serializers.FloatField(
        required=False, min_value=0, max_value=1, help_text="Above this share of rejected rows the job fails."
    )  # fmt: skip


class IngestOptionsSerializer(ReadingOptionsSerializer):
    """How a table is read that is to be loaded."""

    has_label = FlagField(required=False, help_text="Whether each row has the label; true unless said otherwise.")


class IngestUploadSerializer(IngestOptionsSerializer, UploadSerializer):
    """A table to be loaded."""


class AddressSerializer(IngestOptionsSerializer):
    """The address of a table."""

    uri = serializers.CharField(max_length=1000, help_text="gs://bucket/object, https://… or a file in the inbox.")
