"""The pages of training and the registry."""

from collections.abc import Callable
from http import HTTPStatus

from django.contrib import messages
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.roles import Scope, requires
from core.users import current_user
from core.views import start_job
from features.services import current_batch
from training import card, charts, comparison, registry, services
from training.downloads import artifact_response
from training.forms import MomentForm, TrainingForm
from training.models import ModelVersion, Reproduction, StageChange, TrainingRun
from training.report import figures, group_label, worst_slices


@require_safe
def models(request: HttpRequest) -> HttpResponse:
    """List every version, and compare the chosen ones."""
    chosen = comparison.chosen(request.GET)
    context = {
        "page": comparison.listing(request.GET),
        "columns": comparison.columns(request.GET),
        "chosen": chosen,
        "compared": comparison.compare(chosen) if len(chosen) > 1 else None,
        "most_chosen": comparison.MAX_COMPARED,
    }
    return render(request, "model_list.html", context)


@require_safe
def model(request: HttpRequest, version: int) -> HttpResponse:
    """Show one version: metrics, verdict, parameters, origin."""
    model_version = get_object_or_404(ModelVersion.objects.with_history(), version=version)
    metrics = model_version.evaluation
    lines = {_("Cross-validation"): metrics.curves.cross_validation, _("Hold-out"): metrics.curves.hold_out}
    context = {
        "model": model_version,
        "changes": StageChange.objects.filter(version=model_version).select_related("by"),
        "verdict": model_version.verdict,
        "metrics": metrics,
        "figures": figures(metrics),
        "group_label": group_label(metrics),
        "worst_slices": worst_slices(metrics.slices.cross_validation),
        "worst_holdout_slices": worst_slices(metrics.slices.hold_out),
        "curves": charts.curves(lines),
        "importance": charts.importance(metrics.importance),
        "threshold": charts.threshold(metrics.threshold),
    }
    return render(request, "model_detail.html", context)


@require_safe
def model_card(request: HttpRequest, version: int) -> HttpResponse:
    """Show the version's card."""
    model_version = get_object_or_404(ModelVersion.objects.with_history(), version=version)
    return render(request, "model_card.html", {"model": model_version, "card": card.html(card.markdown(model_version))})


@require_safe
def model_card_file(request: HttpRequest, version: int) -> HttpResponse:
    """Download the version's card as Markdown."""
    model_version = get_object_or_404(ModelVersion.objects.with_history(), version=version)
    disposition = f'attachment; filename="model-{version}.md"'
    return HttpResponse(
        card.markdown(model_version),
        content_type="text/markdown; charset=utf-8",
        headers={"Content-Disposition": disposition},
    )


@require_safe
def artifact(request: HttpRequest, version: int) -> FileResponse:
    """Download the version's file."""
    model_version = get_object_or_404(ModelVersion, version=version)
    return artifact_response(model_version, request.GET.get("format", "onnx"))


@require_safe
def run(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one training run."""
    job = get_object_or_404(TrainingRun.objects.select_related("feature_batch"), pk=pk)
    return render(request, "run_detail.html", {"job": job, "version": ModelVersion.objects.filter(run=job).first()})


@require_safe
def batch_runs(request: HttpRequest, pk: int) -> HttpResponse:
    """Show, as a part of a feature batch's page, the trainings from it."""
    runs = TrainingRun.objects.filter(feature_batch=pk).select_related("version")
    return render(request, "batch_detail_runs.html", {"runs": runs})


@requires(Scope.OPERATE, even_to_read=True)
@require_http_methods(["GET", "HEAD", "POST"])
def train(request: HttpRequest) -> HttpResponse:
    """Start a training from the current batch; fields left out take their defaults."""
    batch = current_batch()
    form = TrainingForm(instance=TrainingRun())
    if request.method != "POST":
        return render(request, "train.html", {"form": form, "batch": batch})
    form = TrainingForm({**form.initial, **request.POST.dict()})
    if not form.is_valid():
        return render(request, "train.html", {"form": form, "batch": batch}, status=HTTPStatus.BAD_REQUEST)
    return start_job(request, services.queue_run(batch=batch, **form.cleaned_data), _("The training has begun."))


@require_POST
def promote(request: HttpRequest, version: int) -> HttpResponse:
    """Promote a version to champion."""
    return _change_stage(request, version, registry.promote, _("%(version)s is now the champion."))


@require_POST
def challenge(request: HttpRequest, version: int) -> HttpResponse:
    """Start shadow scoring with a version."""
    return _change_stage(request, version, registry.start_shadow, _("%(version)s is now scoring in the shadow."))


@require_POST
def retire(request: HttpRequest, version: int) -> HttpResponse:
    """Retire a version."""
    return _change_stage(request, version, registry.retire, _("%(version)s is retired."))


@require_POST
def rollback(request: HttpRequest) -> HttpResponse:
    """Promote the previous champion again."""
    version = registry.rollback(by=current_user(request), reason=request.POST.get("reason", ""))
    messages.success(request, _("%(version)s is the champion again.") % {"version": version})
    return redirect(version)


@require_safe
def champion_history(request: HttpRequest) -> HttpResponse:
    """Show the champion history, and the champion of a given moment."""
    form = MomentForm(request.GET or None)
    moment = form.cleaned_data["at"] if form.is_valid() else None
    context = {"promotions": StageChange.objects.promotions(), "form": form, "moment": moment}
    if moment:
        context["champion_then"] = registry.champion_at(moment)
    return render(request, "champion_history.html", context)


@require_POST
def reproduce(request: HttpRequest, version: int) -> HttpResponse:
    """Reproduce a version and compare."""
    model_version = get_object_or_404(ModelVersion, version=version)
    return start_job(request, services.queue_reproduction(version=model_version), _("The version is being reproduced."))


@require_safe
def reproduction(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one reproduction."""
    job = get_object_or_404(Reproduction.objects.select_related("version"), pk=pk)
    return render(request, "reproduction_detail.html", {"job": job})


def _change_stage(request: HttpRequest, version: int, change: Callable[..., None], text: str) -> HttpResponse:
    model_version = get_object_or_404(ModelVersion, version=version)
    change(model_version, by=current_user(request), reason=request.POST.get("reason", ""))
    messages.success(request, text % {"version": model_version})
    return redirect(model_version)
