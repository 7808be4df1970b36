"""Answers, logged predictions and scoring jobs as JSON."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core.api import JOB_FIELDS
from core.uploads import FlagField, UploadSerializer
from features.serializers import FeatureVector
from ingestion.contract import CONTROL_RANGES
from ingestion.openapi import NUMBER, Schema
from ingestion.passenger import LABEL
from ingestion.schema import as_row
from ingestion.serializers import ReadingField, ReadingOptionsSerializer
from predictions import outcomes, scorer
from predictions.drift_state import DriftNote, FeatureNote
from predictions.models import REFERENCE, Outcome, Prediction, ScoringJob
from predictions.services import Answer


class FeatureNoteSerializer(serializers.Serializer[FeatureNote]):
    """Whether a feature has drifted, and whether this row's value lies within those of the training rows."""

    name = serializers.CharField()
    drifted = serializers.BooleanField()
    seen = serializers.BooleanField(allow_null=True)


class DriftNoteSerializer(serializers.Serializer[DriftNote]):
    """The state of the drift watch (unknown, calm, drift), since when, and each feature."""

    state = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True)
    features = FeatureNoteSerializer(many=True)


class AnswerSerializer(serializers.Serializer[Answer]):
    """The prediction for one row."""

    id = serializers.UUIDField()
    # The field has the label's name.
    vars()[LABEL] = serializers.BooleanField(source="predicted")
    probability = serializers.FloatField(min_value=0, max_value=1)
    threshold = serializers.FloatField(min_value=0, max_value=1)
    model_version = serializers.IntegerField()
    features = FeatureVector()
    created_at = serializers.DateTimeField()
    reference = serializers.CharField(allow_null=True)
    drift = DriftNoteSerializer(required=False)


class BatchAnswerSerializer(serializers.Serializer[dict[str, list[Answer]]]):
    """The answers in the order of the instances."""

    predictions = AnswerSerializer(many=True)
    drift = DriftNoteSerializer()


class PredictionSerializer(serializers.ModelSerializer[Prediction]):
    """A logged prediction: the input and the answer."""

    vars()[LABEL] = serializers.BooleanField(source="predicted")
    passenger = serializers.SerializerMethodField()
    features = serializers.SerializerMethodField()
    # As the header and the log lines write it.
    request_id = serializers.CharField(source="request_id.hex", read_only=True, default=None, allow_null=True)

    class Meta:
        model = Prediction
        fields = (
            "id", LABEL, "probability", "threshold", "model_version", "source", "scoring_job_id", "passenger",
            "features", "created_at", "reference", "anonymous", "request_id",
        )  # fmt: skip
        read_only_fields = fields

    def get_passenger(self, prediction: Prediction) -> dict[str, Any]:
        return as_row(prediction)

    @extend_schema_field(FeatureVector)
    def get_features(self, prediction: Prediction) -> scorer.FeatureValues:
        return scorer.features_of_passenger(self.get_passenger(prediction))


class ScoringUploadSerializer(ReadingOptionsSerializer, UploadSerializer):
    """A file to be scored."""

    explain = FlagField(default=False)


class ScoringJobSerializer(serializers.ModelSerializer[ScoringJob]):
    """A file being scored."""

    reading = ReadingField()

    class Meta:
        model = ScoringJob
        fields = (*JOB_FIELDS, "name", "row_count", "problem_count", "model_version", "is_explained", "reading")
        read_only_fields = fields


def outcomes_schema() -> dict[str, object]:
    """Return the JSON schema of a list of outcomes: each names its prediction in one of two ways."""
    text = {"type": "string", "pattern": rf"^[^{CONTROL_RANGES}\s]{{1,{REFERENCE.max_length}}}$"}
    uuid: Schema = {"type": "string", "format": "uuid"}
    keys: dict[str, Schema] = {outcomes.ID: uuid, REFERENCE.name: {"anyOf": [text, NUMBER]}}
    items = [
        {
            "type": "object",
            "properties": {name: schema, LABEL: {"type": "boolean"}},
            "required": [name, LABEL],
            "additionalProperties": False,
        }
        for name, schema in keys.items()
    ]
    return {"type": "array", "items": {"oneOf": items}, "maxItems": outcomes.MAX_ITEMS}


class StrictBooleanField(serializers.BooleanField):
    """True or false; 1, "yes" and null are rejected."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class OutcomeSerializer(serializers.ModelSerializer[Outcome]):
    """What really happened."""

    vars()[LABEL] = StrictBooleanField(source="actual")

    class Meta:
        model = Outcome
        fields = ("prediction_id", LABEL, "recorded_at")
        read_only_fields = ("prediction_id", "recorded_at")
