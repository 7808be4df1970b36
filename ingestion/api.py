"""Ingestion in the API."""

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from core.api import DetailView, JobQuery, ListView, accepted, validate_body
from core.idempotency import idempotent
from core.pagination import InOrder
from core.parsers import JSONParser
from core.users import current_user
from ingestion import services
from ingestion.models import Dataset, RowProblem
from ingestion.serializers import (
    AddressSerializer,
    DatasetSerializer,
    IngestUploadSerializer,
    RowProblemQuery,
    RowProblemSerializer,
)


class DatasetList(ListView[Dataset]):
    """Datasets, newest first; POST starts an ingest."""

    queryset = Dataset.objects.all()
    serializer_class = DatasetSerializer
    query = JobQuery
    parser_classes = (JSONParser, MultiPartParser)

    @extend_schema(
        request={"application/json": AddressSerializer, "multipart/form-data": IngestUploadSerializer},
        responses={202: DatasetSerializer},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        if request.content_type.startswith(MultiPartParser.media_type):
            options = validate_body(IngestUploadSerializer, request)
            dataset = services.queue_upload(by=current_user(request), **options)
            return accepted(dataset, DatasetSerializer, request=request)
        options = validate_body(AddressSerializer, request)
        return accepted(services.queue_ingest(**options), DatasetSerializer, request=request)


class DatasetDetail(DetailView[Dataset]):
    """One dataset."""

    queryset = Dataset.objects.all()
    serializer_class = DatasetSerializer


class DatasetProblems(ListView[RowProblem]):
    """Reasons why rows were rejected or have a warning."""

    serializer_class = RowProblemSerializer
    query = RowProblemQuery
    pagination_class = InOrder

    def get_queryset(self) -> QuerySet[RowProblem]:
        dataset = generics.get_object_or_404(Dataset, pk=self.kwargs["pk"])
        return RowProblem.objects.filter(dataset=dataset)


urlpatterns = [
    path("datasets/", DatasetList.as_view()),
    path("datasets/<int:pk>/", DatasetDetail.as_view()),
    path("datasets/<int:pk>/problems/", DatasetProblems.as_view()),
]
