"""The pages of training and the registry."""

from typing import Any

from django.contrib import messages
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from features.models import FeatureBatch
from titanic_site.lib.errors import Conflict
from titanic_site.lib.views import started
from training import card, charts, comparison, registry, services
from training.downloads import artifact_response
from training.models import ModelVersion, StageChange, TrainingRun
from training.report import Report


@require_safe
def models(request: HttpRequest) -> HttpResponse:
    """Every version, sorted as asked, and those that were chosen side by side."""
    chosen = comparison.chosen(request.GET)
    context = {
        "page": comparison.listing(request.GET),
        "columns": comparison.columns(request.GET),
        "chosen": chosen,
        "compared": comparison.compare(chosen) if len(chosen) > 1 else None,
        "sort": request.GET.get("sort", ""),
        "most_chosen": comparison.MOST_CHOSEN,
    }
    return render(request, "model_list.html", context)


@require_safe
def model(request: HttpRequest, version: int) -> HttpResponse:
    """One version: figures, verdict, parameters, where it comes from."""
    found = get_object_or_404(ModelVersion.objects.with_history(), version=version)
    report = Report.of(found)
    context = {
        "model": found,
        "changes": StageChange.objects.filter(version=found).select_related("by"),
        "report": report,
        "curves": charts.of_version(report),
        "importance": charts.importance(report),
        "threshold": charts.threshold(report),
    }
    return render(request, "model_detail.html", context)


@require_safe
def model_card(request: HttpRequest, version: int) -> HttpResponse:
    """The version's card."""
    found = get_object_or_404(ModelVersion.objects.with_history(), version=version)
    return render(request, "model_card.html", {"model": found, "card": card.html(card.markdown(found))})


@require_safe
def model_card_file(request: HttpRequest, version: int) -> HttpResponse:
    """The version's card as it is written."""
    found = get_object_or_404(ModelVersion.objects.with_history(), version=version)
    response = HttpResponse(card.markdown(found), content_type="text/markdown; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="model-{found.version}.md"'
    return response


@require_safe
def artifact(request: HttpRequest, version: int) -> FileResponse:
    """The version's file."""
    found = get_object_or_404(ModelVersion, version=version)
    return artifact_response(found, request.GET.get("format", "onnx"))


@require_safe
def run(request: HttpRequest, pk: int) -> HttpResponse:
    """One training run."""
    found = get_object_or_404(TrainingRun.objects.select_related("feature_batch"), pk=pk)
    return render(request, "run_detail.html", {"job": found, "version": ModelVersion.objects.filter(run=found).first()})


@require_POST
def train(request: HttpRequest) -> HttpResponse:
    """Train from the current batch."""
    batch = FeatureBatch.objects.current().first()
    if batch is None:
        raise Conflict(_("There is no feature batch yet: build one first."))
    return started(request, services.queue_run(batch=batch), _("The training has begun."))


@require_POST
def promote(request: HttpRequest, version: int) -> HttpResponse:
    """Put a version in charge."""
    found = get_object_or_404(ModelVersion, version=version)
    registry.promote(found, by=_user(request), reason=request.POST.get("reason", "")[:300])
    messages.success(request, _("%(version)s is in charge now.") % {"version": found})
    return redirect(found)


@require_POST
def rollback(request: HttpRequest) -> HttpResponse:
    """Put the champion before this one in charge again."""
    version = registry.rollback(by=_user(request))
    messages.success(request, _("%(version)s is in charge again.") % {"version": version})
    return redirect(version)


def _user(request: HttpRequest) -> Any:
    return request.user if request.user.is_authenticated else None
