"""The API's doors into ingestion."""

from typing import Any

from django.urls import path
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from ingestion import services
from ingestion.models import Dataset, RowProblem
from ingestion.serializers import DatasetSerializer, IngestSerializer, RowProblemSerializer
from titanic_site.lib.api import accepted, checked
from titanic_site.lib.errors import Invalid
from titanic_site.lib.pagination import InOrder
from titanic_site.lib.parsers import JSONParser


class DatasetList(generics.ListAPIView[Dataset]):
    """Datasets, newest first; POST starts an ingest."""

    queryset: Any = Dataset.objects.all()
    serializer_class = DatasetSerializer
    parser_classes = (JSONParser, MultiPartParser)

    @extend_schema(
        request={"application/json": IngestSerializer, "multipart/form-data": IngestSerializer},
        responses={202: DatasetSerializer},
    )
    def post(self, request: Request) -> Response:
        asked = checked(IngestSerializer, request)
        if len(asked) != 1:
            raise Invalid({"uri": [("required", _("Give either uri or file."))]})
        if "file" in asked:
            return accepted(services.queue_upload(file=asked["file"]), DatasetSerializer, request=request)
        return accepted(services.queue_ingest(uri=asked["uri"]), DatasetSerializer, request=request)


class DatasetDetail(generics.RetrieveAPIView[Dataset]):
    """One dataset."""

    queryset: Any = Dataset.objects.all()
    serializer_class = DatasetSerializer


class DatasetProblems(generics.ListAPIView[RowProblem]):
    """The rows that were refused, with reasons."""

    serializer_class = RowProblemSerializer
    pagination_class = InOrder

    def get_queryset(self) -> Any:
        dataset = generics.get_object_or_404(Dataset, pk=self.kwargs["pk"])
        return RowProblem.objects.filter(dataset=dataset)


urlpatterns = [
    path("datasets/", DatasetList.as_view()),
    path("datasets/<int:pk>/", DatasetDetail.as_view()),
    path("datasets/<int:pk>/problems/", DatasetProblems.as_view()),
]
