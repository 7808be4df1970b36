"""Training and the registry in the API."""

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db.models import QuerySet
from django.http import FileResponse
from django.urls import path
from django.views.generic import RedirectView
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response

from core.api import DetailView, JobQuery, ListView, View, accepted, validate_body
from core.idempotency import idempotent
from core.negotiation import FileNegotiation
from core.users import current_user
from features.models import FeatureBatch
from features.services import current_batch
from training import registry, services
from training.downloads import artifact_response
from training.models import ModelVersion, Reproduction, StageChange, TrainingRun
from training.serializers import (
    AnnotationRequest,
    ArtifactRequest,
    ChampionPeriodSerializer,
    ModelQuery,
    ModelVersionSerializer,
    MomentRequest,
    ReproductionSerializer,
    StageRequest,
    TrainingRequest,
    TrainingRunQuery,
    TrainingRunSerializer,
)  # fmt: skip


class ModelList(ListView[ModelVersion]):
    """List versions, newest first."""

    queryset: Any = ModelVersion.objects.with_history()
    serializer_class = ModelVersionSerializer
    query = ModelQuery


class ModelDetail(DetailView[ModelVersion]):
    """One version."""

    queryset: Any = ModelVersion.objects.with_history()
    serializer_class = ModelVersionSerializer
    lookup_field = "version"


class _StageChange(View):
    """Another stage for a version."""

    change: Callable[..., None]

    @extend_schema(request=StageRequest, responses=ModelVersionSerializer)
    @idempotent
    def post(self, request: Request, version: int) -> Response:
        body = validate_body(StageRequest, request)
        model_version = _version(version)
        self.change(model_version, by=current_user(request), reason=body["reason"])
        return Response(ModelVersionSerializer(model_version).data)


class Promotion(_StageChange):
    """Promote a version to champion."""

    change = staticmethod(registry.promote)


class Challenge(_StageChange):
    """Start shadow scoring with a version."""

    change = staticmethod(registry.start_shadow)


class Retirement(_StageChange):
    """Retire a version."""

    change = staticmethod(registry.retire)


class Annotation(View):
    """Change a version's tags and notes; what is left out stays."""

    @extend_schema(request=AnnotationRequest, responses=ModelVersionSerializer)
    @idempotent
    def post(self, request: Request, version: int) -> Response:
        body = validate_body(AnnotationRequest, request)
        model_version = _version(version)
        tags = list(dict.fromkeys(body.get("tags", model_version.tags)))
        registry.annotate(model_version, tags=tags, notes=body.get("notes", model_version.notes))
        return Response(ModelVersionSerializer(model_version).data)


class Rollback(View):
    """Promote the previous champion again."""

    @extend_schema(request=StageRequest, responses=ModelVersionSerializer)
    @idempotent
    def post(self, request: Request) -> Response:
        body = validate_body(StageRequest, request)
        return Response(ModelVersionSerializer(registry.rollback(by=current_user(request), reason=body["reason"])).data)


class ChampionHistory(View):
    """The champion history, newest first; `?at=` a moment gives the champion of that time."""

    query = MomentRequest

    @extend_schema(responses=ChampionPeriodSerializer(many=True))
    def get(self, request: Request) -> Response:
        promotions: Iterable[StageChange] = StageChange.objects.promotions()
        if moment := self.read_query().get("at"):
            promotion = registry.champion_at(moment)
            promotions = [promotion] if promotion else []
        return Response(ChampionPeriodSerializer(promotions, many=True).data)  # type: ignore[arg-type]  # of many


class Reproductions(ListView[Reproduction]):
    """List a version's reproductions, newest first; POST starts one."""

    queryset: Any = Reproduction.objects.select_related("version")
    serializer_class = ReproductionSerializer
    query = JobQuery

    def get_queryset(self) -> QuerySet[Reproduction]:
        return super().get_queryset().filter(version__version=self.kwargs["version"])

    @extend_schema(request=None, responses={202: ReproductionSerializer})
    @idempotent
    def post(self, request: Request, version: int) -> Response:
        reproduction = services.queue_reproduction(version=_version(version))
        return accepted(reproduction, ReproductionSerializer, request=request)


class ReproductionDetail(DetailView[Reproduction]):
    """One reproduction."""

    queryset: Any = Reproduction.objects.select_related("version")
    serializer_class = ReproductionSerializer


class ModelArtifact(View):
    """A version's file: `?format=onnx` or `pkl`."""

    content_negotiation_class = FileNegotiation
    query = ArtifactRequest

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Request, version: int) -> FileResponse:
        model_version = generics.get_object_or_404(ModelVersion, version=version)
        return artifact_response(model_version, self.read_query()["format"])


class TrainingRunList(ListView[TrainingRun]):
    """Training runs, newest first; POST starts one."""

    queryset: Any = TrainingRun.objects.select_related("version")
    serializer_class = TrainingRunSerializer
    query = TrainingRunQuery

    @extend_schema(request=TrainingRequest, responses={202: TrainingRunSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        body = {**validate_body(TrainingRequest, request)}
        number = body.pop("feature_batch", None)
        batch = generics.get_object_or_404(FeatureBatch, pk=number) if number else current_batch()
        return accepted(services.queue_run(batch=batch, **body), TrainingRunSerializer, request=request)


class TrainingRunDetail(DetailView[TrainingRun]):
    """One training run."""

    queryset: Any = TrainingRun.objects.select_related("version")
    serializer_class = TrainingRunSerializer


def _version(version: int) -> ModelVersion:
    return generics.get_object_or_404(ModelVersion.objects.with_history(), version=version)


urlpatterns = [
    path("models/", ModelList.as_view()),
    path("models/rollback/", Rollback.as_view()),
    path("models/history/", ChampionHistory.as_view()),
    # A client with a token has no session.
    path(
        "models/reigns/",
        login_not_required(RedirectView.as_view(url="/api/v1/models/history/", permanent=True, query_string=True)),
    ),
    path("models/<int:version>/", ModelDetail.as_view()),
    path("models/<int:version>/annotate/", Annotation.as_view()),
    path("models/<int:version>/promote/", Promotion.as_view()),
    path("models/<int:version>/challenge/", Challenge.as_view()),
    path("models/<int:version>/retire/", Retirement.as_view()),
    path("models/<int:version>/reproductions/", Reproductions.as_view()),
    path("reproductions/<int:pk>/", ReproductionDetail.as_view()),
    path("models/<int:version>/artifact/", ModelArtifact.as_view()),
    path("training-runs/", TrainingRunList.as_view()),
    path("training-runs/<int:pk>/", TrainingRunDetail.as_view()),
]
