"""Feature batches and look-ups in the API."""

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from core.api import DetailView, ListView, View, accepted, validate_body
from core.idempotency import idempotent
from features import services
from features.models import FeatureBatch
from features.serializers import (
    FeatureBatchQuery,
    FeatureBatchRequest,
    FeatureBatchSerializer,
    PassengerFeaturesSerializer,
)
from features.store import MissingPassenger
from ingestion.models import Dataset


class FeatureBatchList(ListView[FeatureBatch]):
    """List feature batches, newest first; POST builds one."""

    queryset = FeatureBatch.objects.all()
    serializer_class = FeatureBatchSerializer
    query = FeatureBatchQuery

    @extend_schema(request=FeatureBatchRequest, responses={202: FeatureBatchSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        body = validate_body(FeatureBatchRequest, request)
        dataset = generics.get_object_or_404(Dataset, pk=body["dataset"])
        return accepted(services.queue_build(dataset=dataset), FeatureBatchSerializer, request=request)


class FeatureBatchDetail(DetailView[FeatureBatch]):
    """Show one feature batch."""

    queryset = FeatureBatch.objects.all()
    serializer_class = FeatureBatchSerializer


class PassengerFeatures(View):
    """Look up a row's features in the current batch, with the batch, its dataset and when it was created."""

    @extend_schema(responses=PassengerFeaturesSerializer)
    def get(self, request: Request, passenger_id: str) -> Response:
        try:
            passenger = services.look_up(passenger_id)
        except MissingPassenger as error:
            raise NotFound from error
        batch = passenger.batch
        origin = {"batch": batch.pk, "dataset": batch.dataset_id, "created_at": batch.created_at}
        return Response(PassengerFeaturesSerializer({**passenger.features, **origin}).data)


urlpatterns = [
    path("feature-batches/", FeatureBatchList.as_view()),
    path("feature-batches/<int:pk>/", FeatureBatchDetail.as_view()),
    path("features/<str:passenger_id>/", PassengerFeatures.as_view()),
]
