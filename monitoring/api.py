"""The API of monitoring."""

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response

from core.api import accepted
from monitoring import services
from monitoring.models import Alert, DriftCheck
from monitoring.serializers import AlertSerializer, DriftCheckSerializer


class DriftCheckList(generics.ListAPIView[DriftCheck]):
    """Drift checks, newest first; POST starts one on the latest window."""

    queryset = DriftCheck.objects.select_related("version").prefetch_related("features")
    serializer_class = DriftCheckSerializer

    @extend_schema(request=None, responses={202: DriftCheckSerializer})
    def post(self, request: Request) -> Response:
        return accepted(services.queue_check(), DriftCheckSerializer, request=request)


class DriftCheckDetail(generics.RetrieveAPIView[DriftCheck]):
    """One drift check with its tests."""

    queryset = DriftCheck.objects.select_related("version").prefetch_related("features")
    serializer_class = DriftCheckSerializer


class AlertList(generics.ListAPIView[Alert]):
    """Alerts, newest first."""

    queryset = Alert.objects.all()
    serializer_class = AlertSerializer


urlpatterns = [
    path("alerts/", AlertList.as_view()),
    path("drift-checks/", DriftCheckList.as_view()),
    path("drift-checks/<int:pk>/", DriftCheckDetail.as_view()),
]
