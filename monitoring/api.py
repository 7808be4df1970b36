"""The API of monitoring."""

from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response

from core import moments
from core.api import DetailView, JobQuery, ListView, View, accepted, validate_body
from core.errors import Invalid
from core.idempotency import idempotent
from core.users import current_user
from monitoring import alerts, performance, services
from monitoring.alert_kinds import Kind, Severity
from monitoring.drift_forms import DriftCheckFilter
from monitoring.forms import AlertFilter
from monitoring.models import (
    Alert,
    AlertQuerySet,
    AlertState,
    DriftCheck,
    DriftCheckQuerySet,
    Method,
    PerformanceCheck,
)
from monitoring.serializers import (
    AlertSerializer,
    AlertTimeQuery,
    DriftCheckSerializer,
    NoteSerializer,
    PerformanceCheckDetailSerializer,
    PerformanceCheckRequestSerializer,
    PerformanceCheckSerializer,
    StateQuery,
    WindowSerializer,
)
from predictions.filters import MAX_NUMBER
from predictions.models import Channel


class DriftCheckList(ListView[DriftCheck]):
    """Drift checks, newest first; POST starts one, of the latest window unless the body says otherwise."""

    serializer_class = DriftCheckSerializer
    query, filter_form = StateQuery, DriftCheckFilter

    def get_queryset(self) -> DriftCheckQuerySet:
        return DriftCheckFilter(self.request.query_params).checks(self.request).prefetch_related("features")

    @extend_schema(
        parameters=[
            OpenApiParameter("model", {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}),
            OpenApiParameter("channel", str, enum=[value for value, _label in Channel.live()]),
            OpenApiParameter("drifted", bool),
            OpenApiParameter("method", str, enum=Method.values),
            OpenApiParameter("scoring_job", {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}),
            OpenApiParameter("since", OpenApiTypes.DATETIME, description=moments.HELP),
            OpenApiParameter("until", OpenApiTypes.DATETIME, description=moments.HELP),
        ]
    )
    def get(self, request: Request) -> Response:
        return super().get(request)

    @extend_schema(request=WindowSerializer, responses={202: DriftCheckSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        check = services.queue_check(**validate_body(WindowSerializer, request))
        return accepted(check, DriftCheckSerializer, request=request)


class DriftCheckDetail(DetailView[DriftCheck]):
    """One drift check with its tests."""

    serializer_class = DriftCheckSerializer

    def get_queryset(self) -> DriftCheckQuerySet:
        checks = DriftCheck.objects.visible_to(self.request)
        return checks.select_related("version").prefetch_related("features")


class PerformanceCheckList(ListView[PerformanceCheck]):
    """Performance checks, newest first; POST starts one on the champion's latest outcomes and predictions."""

    queryset = PerformanceCheck.objects.select_related("version").defer("figures")
    serializer_class = PerformanceCheckSerializer
    query = JobQuery

    @extend_schema(request=PerformanceCheckRequestSerializer, responses={202: PerformanceCheckSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        data = validate_body(PerformanceCheckRequestSerializer, request)
        job = performance.queue_check(without_anonymous=data["without_anonymous"])
        return accepted(job, PerformanceCheckSerializer, request=request)


class PerformanceCheckDetail(DetailView[PerformanceCheck]):
    """One performance check with its report."""

    queryset = PerformanceCheck.objects.select_related("version")
    serializer_class = PerformanceCheckDetailSerializer


class AlertList(ListView[Alert]):
    """Alerts, newest first."""

    serializer_class = AlertSerializer
    query, filter_form = AlertTimeQuery, AlertFilter

    def get_queryset(self) -> AlertQuerySet:
        filters = AlertFilter(self.request.query_params)
        if not filters.is_valid():
            raise Invalid.of_form(filters)
        return filters.alerts().select_related("acknowledged_by", "resolved_by")

    @extend_schema(
        parameters=[
            OpenApiParameter("state", str, enum=["", *AlertState.values]),
            OpenApiParameter("kind", str, enum=["", *Kind.values]),
            OpenApiParameter("severity", str, enum=["", *Severity.values]),
        ]
    )
    def get(self, request: Request) -> Response:
        return super().get(request)


class AlertDetail(DetailView[Alert]):
    """One alert."""

    queryset = Alert.objects.select_related("acknowledged_by", "resolved_by")
    serializer_class = AlertSerializer


class AlertAcknowledgement(View):
    """Record who looks after an alert, with a note: 409 when it is acknowledged or resolved already."""

    @extend_schema(request=NoteSerializer, responses=AlertSerializer)
    @idempotent
    def post(self, request: Request, pk: int) -> Response:
        alert = generics.get_object_or_404(Alert, pk=pk)
        alerts.acknowledge(alert, by=current_user(request), note=validate_body(NoteSerializer, request)["note"])
        return Response(AlertSerializer(alert).data)


urlpatterns = [
    path("alerts/", AlertList.as_view()),
    path("alerts/<int:pk>/", AlertDetail.as_view()),
    path("alerts/<int:pk>/acknowledge/", AlertAcknowledgement.as_view()),
    path("drift-checks/", DriftCheckList.as_view()),
    path("drift-checks/<int:pk>/", DriftCheckDetail.as_view()),
    path("performance-checks/", PerformanceCheckList.as_view()),
    path("performance-checks/<int:pk>/", PerformanceCheckDetail.as_view()),
]
