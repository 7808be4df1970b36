"""The pages of monitoring."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from core.pagination import page
from core.redis import RedisUnavailable
from core.views import start_job
from monitoring import consistency, health, performance, services
from monitoring.models import Alert, DriftCheck

_ALERTS_SHOWN = 50


@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """Show alerts, readiness, consistency, drift and live performance."""
    latest = DriftCheck.objects.select_related("version").first()
    try:
        consistency_check = consistency.last()
    except RedisUnavailable:
        consistency_check = None
    context = {
        "health": health.report(),
        "latest": latest,
        "alerts": Alert.objects.open_first()[:_ALERTS_SHOWN],
        "consistency": consistency_check,
        "live": performance.live(),
    }
    return render(request, "monitoring.html", context)


@require_safe
def open_alerts(request: HttpRequest) -> HttpResponse:
    """Show how many alerts are open, as a fragment of the navigation."""
    return render(request, "_components/open_alerts.html", {"count": Alert.objects.open().count()})


@require_safe
def drift_checks(request: HttpRequest) -> HttpResponse:
    """List the drift checks."""
    return render(request, "drift_list.html", {"page": page(DriftCheck.objects.select_related("version"), request)})


@require_safe
def drift_check(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one check with its tests."""
    check = get_object_or_404(DriftCheck.objects.select_related("version"), pk=pk)
    return render(request, "drift_detail.html", {"job": check, "tests": check.features.all()})


@require_POST
def start_check(request: HttpRequest) -> HttpResponse:
    """Check the latest window now."""
    return start_job(request, services.queue_check(), _("The drift check has begun."))


@require_safe
def drift_state(request: HttpRequest) -> HttpResponse:
    """Show the drift state, as a fragment that other apps' pages include."""
    latest = DriftCheck.objects.succeeded().first()
    return render(request, "_components/drift_state.html", {"check": latest})
