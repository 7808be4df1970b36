"""Feature batches as JSON."""

from rest_framework import serializers

from core.api import JOB_FIELDS, JobQuery
from features.definition import FEATURES
from features.models import FeatureBatch


class FeatureBatchSerializer(serializers.ModelSerializer[FeatureBatch]):
    """A feature batch and the state of its job."""

    current = serializers.BooleanField(source="is_current", read_only=True)

    class Meta:
        model = FeatureBatch
        fields = (*JOB_FIELDS, "dataset", "row_count", "definition_version", "checksum", "current")
        read_only_fields = fields


class FeatureBatchQuery(JobQuery):
    """Selects feature batches."""

    dataset = serializers.IntegerField(required=False, min_value=1, max_value=2**53)


class FeatureBatchRequest(serializers.Serializer[None]):
    """The dataset to build features of."""

    dataset = serializers.IntegerField(min_value=1, max_value=2**53)


#: The features by name; null is unknown.
FeatureVector = type(
    "FeatureVector",
    (serializers.Serializer,),
    {name: serializers.FloatField(allow_null=True) for name in FEATURES},
)


class PassengerFeaturesSerializer(FeatureVector):  # type: ignore[misc,valid-type]
    """A row's features, and the batch that they come from."""

    batch = serializers.IntegerField()
    dataset = serializers.IntegerField()
    created_at = serializers.DateTimeField()
