"""The API's doors into training and the registry."""

from typing import Any

from django.http import FileResponse
from django.urls import path
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from features.models import FeatureBatch
from titanic_site.lib.api import accepted, checked
from titanic_site.lib.errors import Conflict
from training import registry, services
from training.downloads import artifact_response
from training.models import ModelVersion, TrainingRun
from training.serializers import ModelVersionSerializer, PromotionRequest, TrainingRequest, TrainingRunSerializer


class ModelList(generics.ListAPIView[ModelVersion]):
    """Versions, newest first."""

    queryset: Any = ModelVersion.objects.with_history()
    serializer_class = ModelVersionSerializer


class ModelDetail(generics.RetrieveAPIView[ModelVersion]):
    """One version."""

    queryset: Any = ModelVersion.objects.with_history()
    serializer_class = ModelVersionSerializer
    lookup_field = "version"


class Promotion(APIView):
    """Put a version in charge."""

    @extend_schema(request=PromotionRequest, responses=ModelVersionSerializer)
    def post(self, request: Request, version: int) -> Response:
        asked = checked(PromotionRequest, request)
        found = generics.get_object_or_404(ModelVersion, version=version)
        registry.promote(found, by=_user(request), reason=asked["reason"])
        return Response(ModelVersionSerializer(found).data)


class Rollback(APIView):
    """Put the champion before this one in charge again."""

    @extend_schema(request=None, responses=ModelVersionSerializer)
    def post(self, request: Request) -> Response:
        return Response(ModelVersionSerializer(registry.rollback(by=_user(request))).data)


class ModelArtifact(APIView):
    """A version's file: `?format=onnx` or `pkl`."""

    @extend_schema(
        parameters=[OpenApiParameter("format", str, enum=["onnx", "pkl"], default="onnx")],
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, version: int) -> FileResponse:
        found = generics.get_object_or_404(ModelVersion, version=version)
        return artifact_response(found, request.query_params.get("format", "onnx"))


class TrainingRunList(generics.ListAPIView[TrainingRun]):
    """Training runs, newest first; POST starts one."""

    queryset: Any = TrainingRun.objects.select_related("version")
    serializer_class = TrainingRunSerializer

    @extend_schema(request=TrainingRequest, responses={202: TrainingRunSerializer})
    def post(self, request: Request) -> Response:
        asked = checked(TrainingRequest, request)
        batch = _batch(asked.get("feature_batch"))
        return accepted(services.queue_run(batch=batch), TrainingRunSerializer, request=request)


class TrainingRunDetail(generics.RetrieveAPIView[TrainingRun]):
    """One training run."""

    queryset: Any = TrainingRun.objects.select_related("version")
    serializer_class = TrainingRunSerializer


def _batch(pk: int | None) -> FeatureBatch:
    if pk is not None:
        return generics.get_object_or_404(FeatureBatch, pk=pk)
    current = FeatureBatch.objects.current().first()
    if current is None:
        raise Conflict(_("There is no feature batch yet: build one first."))
    return current


def _user(request: Request) -> Any:
    return request.user if request.user.is_authenticated else None


urlpatterns = [
    path("models/", ModelList.as_view()),
    path("models/rollback/", Rollback.as_view()),
    path("models/<int:version>/", ModelDetail.as_view()),
    path("models/<int:version>/promote/", Promotion.as_view()),
    path("models/<int:version>/artifact/", ModelArtifact.as_view()),
    path("training-runs/", TrainingRunList.as_view()),
    path("training-runs/<int:pk>/", TrainingRunDetail.as_view()),
]
