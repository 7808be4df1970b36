"""The API's doors into the features."""

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api import accepted, validate_body
from features import services
from features.models import FeatureBatch
from features.serializers import FeatureBatchRequest, FeatureBatchSerializer, FeatureVector
from features.store import MissingPassenger
from ingestion.models import Dataset


class FeatureBatchList(generics.ListAPIView[FeatureBatch]):
    """Feature batches, newest first; POST builds one."""

    queryset: Any = FeatureBatch.objects.all()
    serializer_class = FeatureBatchSerializer

    @extend_schema(request=FeatureBatchRequest, responses={202: FeatureBatchSerializer})
    def post(self, request: Request) -> Response:
        asked = validate_body(FeatureBatchRequest, request)
        dataset = generics.get_object_or_404(Dataset, pk=asked["dataset"])
        return accepted(services.queue_build(dataset=dataset), FeatureBatchSerializer, request=request)


class FeatureBatchDetail(generics.RetrieveAPIView[FeatureBatch]):
    """One feature batch."""

    queryset: Any = FeatureBatch.objects.all()
    serializer_class = FeatureBatchSerializer


class PassengerFeatures(APIView):
    """One passenger's features from the store."""

    @extend_schema(responses=FeatureVector)
    def get(self, request: Request, passenger_id: str) -> Response:
        try:
            return Response(services.of_passenger(passenger_id))
        except MissingPassenger as error:
            raise NotFound from error


urlpatterns = [
    path("feature-batches/", FeatureBatchList.as_view()),
    path("feature-batches/<int:pk>/", FeatureBatchDetail.as_view()),
    path("features/<str:passenger_id>/", PassengerFeatures.as_view()),
]
