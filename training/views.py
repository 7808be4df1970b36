"""The pages of training and the registry."""

from http import HTTPStatus

from django.contrib import messages
from django.http import FileResponse, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.errors import Conflict
from core.pagination import page
from core.roles import Scope, requires
from core.users import current_user
from core.views import Confirmation, confirm, start_job
from features.services import current_batch
from training import card, comparison, model_page, registry, services
from training.downloads import artifact_response
from training.forms import AnnotationForm, MomentForm, ReasonForm, TrainingForm
from training.models import ModelVersion, Reproduction, Stage, StageChange, TrainingRun


@require_safe
def models(request: HttpRequest) -> HttpResponse:
    """List every version, and compare the chosen ones."""
    chosen = comparison.chosen(request.GET)
    differences_only = "differences" in request.GET
    context = {
        "page": comparison.listing(request.GET),
        "columns": comparison.columns(request.GET),
        "chosen": chosen,
        "compared": comparison.compare(chosen, differences_only=differences_only) if len(chosen) > 1 else None,
        "differences_only": differences_only,
        "tag": comparison.tag_filter(request.GET),
        "most_chosen": comparison.MAX_COMPARED,
    }
    return render(request, "model_list.html", context)


@require_safe
def model(request: HttpRequest, version: int) -> HttpResponse:
    """Show one version: its state and main figures, and the tab that the address names."""
    return _model_page(request, version, request.GET.get("tab", ""))


@require_POST
def annotate(request: HttpRequest, version: int) -> HttpResponse:
    """Save a version's tags and notes."""
    form = AnnotationForm(request.POST, instance=get_object_or_404(ModelVersion, version=version))
    if not form.is_valid():
        return _model_page(request, version, model_page.OVERVIEW, form=form)
    registry.annotate(form.instance, **form.cleaned_data)
    messages.success(request, _("Tags and notes of %(version)s are saved.") % {"version": form.instance})
    return redirect(form.instance)


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


@requires(Scope.OPERATE, even_to_read=True)
@require_http_methods(["GET", "HEAD", "POST"])
def promote(request: HttpRequest, version: int) -> HttpResponse:
    """Promote a version to champion, once a person has confirmed it; without the gate's consent with a reason."""
    model_version = get_object_or_404(ModelVersion, version=version)
    if model_version.stage == Stage.CHAMPION:
        raise Conflict(_("%(version)s is the champion already.") % {"version": model_version})
    verdict = model_version.verdict
    form = ReasonForm(_posted(request), is_required=not (verdict and verdict.passed))
    if form.is_valid():
        registry.promote(model_version, by=current_user(request), reason=form.cleaned_data["reason"])
        messages.success(request, _("%(version)s is now the champion.") % {"version": model_version})
        return redirect(model_version)
    champion = ModelVersion.objects.champion()
    texts = [_("%(version)s answers every prediction from then on: on pages, in the API and in files.")]
    if champion:
        texts.append(_("It replaces %(champion)s, which is retired; a roll-back promotes that one again."))
    names = {"version": model_version, "champion": champion}
    return confirm(
        request,
        Confirmation(
            title=_("Promote %(version)s to champion?") % names,
            consequences=[text % names for text in texts],
            submit=_("Promote %(version)s") % names,
            back=model_version.get_absolute_url(),
        ),
        form=form,
        template="model_promote.html",
        more={"model": model_version, "verdict": verdict},
    )


@require_POST
def challenge(request: HttpRequest, version: int) -> HttpResponse:
    """Start shadow scoring with a version."""
    model_version = get_object_or_404(ModelVersion, version=version)
    registry.start_shadow(model_version, by=current_user(request), reason=request.POST.get("reason", ""))
    messages.success(request, _("%(version)s is now scoring in the shadow.") % {"version": model_version})
    return redirect(model_version)


@requires(Scope.OPERATE, even_to_read=True)
@require_http_methods(["GET", "HEAD", "POST"])
def retire(request: HttpRequest, version: int) -> HttpResponse:
    """Retire a version, once a person has confirmed it."""
    model_version = get_object_or_404(ModelVersion, version=version)
    form = ReasonForm(_posted(request))
    if form.is_valid():
        registry.retire(model_version, by=current_user(request), reason=form.cleaned_data["reason"])
        messages.success(request, _("%(version)s is retired.") % {"version": model_version})
        return redirect(model_version)
    texts = [_("It can be promoted again at any time."), _("The rows of its dataset may be archived.")]
    if model_version.stage == Stage.CHALLENGER:
        texts.insert(0, _("It no longer scores in the shadow of the champion."))
    return confirm(
        request,
        Confirmation(
            title=_("Retire %(version)s?") % {"version": model_version},
            consequences=texts,
            submit=_("Retire %(version)s") % {"version": model_version},
            back=model_version.get_absolute_url(),
        ),
        form=form,
    )


@requires(Scope.OPERATE, even_to_read=True)
@require_http_methods(["GET", "HEAD", "POST"])
def rollback(request: HttpRequest) -> HttpResponse:
    """Promote the previous champion again, once a person has confirmed which one that is."""
    form = ReasonForm(_posted(request))
    if form.is_valid():
        target = request.POST.get("target", "")
        version = registry.rollback(by=current_user(request), reason=form.cleaned_data["reason"], target=target)
        messages.success(request, _("%(version)s is the champion again.") % {"version": version})
        return redirect(version)
    target_version = registry.rollback_target()
    names = {"version": target_version, "champion": ModelVersion.objects.champion()}
    texts = [
        _("%(version)s answers every prediction from then on, as it did before %(champion)s."),
        _("%(champion)s is retired; it can be promoted again at any time."),
    ]
    return confirm(
        request,
        Confirmation(
            title=_("Roll back to %(version)s?") % names,
            consequences=[text % names for text in texts],
            submit=_("Roll back to %(version)s") % names,
            back=reverse("models"),
        ),
        form=form,
        template="model_rollback.html",
        more={"model": target_version, "verdict": target_version.verdict},
    )


@require_safe
def champion_history(request: HttpRequest) -> HttpResponse:
    """Show the champion history, and the champion of a given moment."""
    form = MomentForm(request.GET or None)
    moment = form.cleaned_data["at"] if form.is_valid() else None
    context = {"page": page(StageChange.objects.promotions(), request), "form": form, "moment": moment}
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


def _model_page(request: HttpRequest, version: int, name: str, *, form: AnnotationForm | None = None) -> HttpResponse:
    # Golden rows and background are of no page.
    versions = ModelVersion.objects.with_history().defer("golden_rows", "background")
    model_version = get_object_or_404(versions, version=version)
    name = name if name in model_page.TABS else model_page.OVERVIEW
    tab = model_page.TABS[name]
    context = {
        "tabs": model_page.TABS,
        "tab_name": name,
        "tab": tab,
        **model_page.head(model_version),
        **tab.context(model_version),
        **({"form": form} if form else {}),
    }
    return render(request, "model_detail.html", context, status=HTTPStatus.BAD_REQUEST if form else HTTPStatus.OK)


def _posted(request: HttpRequest) -> QueryDict | None:
    return request.POST if request.method == "POST" else None
