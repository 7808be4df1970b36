"""The pages of predictions."""

from itertools import groupby
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import reswap

from core import throttles
from core.errors import Invalid, TitanicError
from core.pagination import page
from core.roles import Scope, public_form, requires
from core.users import current_user
from core.views import start_job
from ingestion.passenger import LABEL
from ingestion.schema import VERBOSE_NAMES, as_row
from predictions import drift_state, erasure, explanation, log, outcomes, scorer, services, shadow
from predictions.downloads import results_response
from predictions.filters import PredictionFilter
from predictions.forms import OutcomesForm, PassengerForm, PersonForm, ScoringForm
from predictions.models import Outcome, Prediction, ScoringJob
from training.models import ModelVersion
from training.reference import SeenValues


@public_form
@requires(Scope.PREDICT)
@require_http_methods(["GET", "HEAD", "POST"])
def predict(request: HttpRequest) -> HttpResponse:
    """Predict for what the form posts, or show what to correct; a GET redirects to the form."""
    if request.method != "POST":
        return redirect(settings.LOGIN_REDIRECT_URL)
    throttles.throttle_anonymous(request)
    form = PassengerForm(request.POST)
    form.is_valid()
    try:
        posted = {name: str(value) for name, value in request.POST.items()}
        (answer,) = services.predict(services.parse_form(posted))
    except Invalid as error:
        form.add_errors(error.errors)
        # Says to the open page that this error is to be shown, at the field and not at the answer.
        return reswap(render(request, "predict.html", {"form": form}, status=error.status), "outerHTML")
    return render(request, "predict.html", {"form": form, "answer": answer})


@require_safe
def predictions(request: HttpRequest) -> HttpResponse:
    """The prediction log, newest first."""
    # A browser sends a field that is left empty too.
    filters = PredictionFilter({name: value for name, value in request.GET.items() if value})
    rows = filters.predictions() if filters.is_valid() else Prediction.objects.none()
    context = {
        "page": page(rows, request),
        "filter": filters,
        "is_filtered": bool(filters.data.keys() & filters.fields.keys()),
        "form": OutcomesForm(),
    }
    return render(request, "prediction_list.html", context)


@require_safe
def prediction(request: HttpRequest, pk: UUID) -> HttpResponse:
    """One prediction: the passenger, the features, the answer, the outcome."""
    prediction = log.get(pk)
    passenger = as_row(prediction)
    matrix = scorer.matrix_of([prediction])
    version = ModelVersion.objects.filter(version=prediction.model_version).first()
    seen_values = SeenValues.of(version.evaluation.inputs) if version else None
    context = {
        "prediction": prediction,
        "label": LABEL,
        "passenger": [(VERBOSE_NAMES[name], value) for name, value in passenger.items()],
        "features": scorer.Features(*matrix[0].tolist()),
        "outcome": Outcome.objects.filter(pk=pk).first(),
        "drift": drift_state.note(seen_values, matrix),
    }
    return render(request, "prediction_detail.html", context)


@require_safe
def explain(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Explain a prediction; a fragment of its page, or a page of its own."""
    throttles.throttle_anonymous(request)
    prediction = log.get(pk)
    explained = explanation.explain(prediction)
    widest = max(abs(share.contribution) for share in explained.contributions) or 1.0
    context = {
        "prediction": prediction,
        "label": LABEL,
        "explanation": explained,
        "shares": [
            (VERBOSE_NAMES[share.field], share.value, share.contribution, round(100 * share.contribution / widest))
            for share in sorted(explained.contributions, key=lambda share: -abs(share.contribution))
        ],
        "alternatives": [
            (VERBOSE_NAMES[name], is_fixed, list(group))
            for (name, is_fixed), group in groupby(explained.what_if, key=lambda other: (other.field, other.is_fixed))
        ],
    }
    template = "prediction_why.html" if request.htmx else "prediction_why_page.html"  # type: ignore[attr-defined]
    return render(request, template, context)


@requires(Scope.PREDICT)
@require_POST
def record_outcome(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Record what really happened."""
    outcomes.record(pk, actual=_posted_outcome(request), by=current_user(request))
    messages.success(request, _("Recorded."))
    return redirect("prediction", pk)


@require_POST
def correct_outcome(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Replace a wrong outcome."""
    outcomes.correct(pk, actual=_posted_outcome(request), by=current_user(request))
    messages.success(request, _("Corrected."))
    return redirect("prediction", pk)


@requires(Scope.PREDICT, even_to_read=True)
@require_http_methods(["GET", "HEAD", "POST"])
def record_outcomes(request: HttpRequest) -> HttpResponse:
    """Record what really happened from a file, and show what became of its lines."""
    form = OutcomesForm(request.POST, request.FILES) if request.method == "POST" else OutcomesForm()
    if not form.is_valid():
        return render(request, "outcome_file.html", {"form": form}, status=400 if form.errors else 200)
    try:
        recorded = outcomes.record_file(form.cleaned_data["file"], by=current_user(request))
    except TitanicError as error:
        form.add_error("file", error.message)
        return render(request, "outcome_file.html", {"form": form}, status=error.status)
    return render(request, "outcome_file.html", {"form": OutcomesForm(), "recorded": recorded})


@requires(Scope.OPERATE, even_to_read=True)
@require_http_methods(["GET", "HEAD", "POST"])
def erase_predictions(request: HttpRequest) -> HttpResponseBase:
    """Find a person's predictions, download or erase them; a POST each, so that no address has a name in it."""
    form = PersonForm(request.POST or None)
    context: dict[str, object] = {"form": form, "count": None, "not_confirmed": False}
    if not form.is_valid():
        return render(request, "erase.html", context, status=400 if form.errors else 200)
    field, value = form.cleaned_data["field"], form.cleaned_data["value"]
    action, is_confirmed = request.POST.get("action"), "confirmed" in request.POST
    try:
        if action == "download":
            headers = {"Content-Disposition": 'attachment; filename="predictions.csv"'}
            lines = erasure.download(field, value)
            return StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8", headers=headers)
        if action == "erase" and is_confirmed:
            count = erasure.erase(field, value)
            text = ngettext("%(count)s prediction erased.", "%(count)s predictions erased.", count)
            messages.success(request, text % {"count": count})
            return redirect("erase_predictions")
        context |= {"count": erasure.find(field, value).count(), "not_confirmed": action == "erase"}
    except Invalid as error:
        form.add_error("value", [message for errors in error.errors.values() for _code, message in errors])
    return render(request, "erase.html", context, status=400 if form.errors or action == "erase" else 200)


@require_safe
def shadow_comparison(request: HttpRequest, version: int) -> HttpResponse:
    """Compare a challenger with the logged answers; a fragment of the model's page, or a page of its own."""
    model = get_object_or_404(ModelVersion, version=version)
    template = "shadow_comparison.html" if request.htmx else "shadow.html"  # type: ignore[attr-defined]
    return render(request, template, {"model": model, "comparison": shadow.comparison(model)})


@require_safe
def scoring_jobs(request: HttpRequest) -> HttpResponse:
    """Every scoring job, and the way to a new one."""
    return render(
        request,
        "scoring_list.html",
        {"page": page(ScoringJob.objects.visible_to(request), request), "form": ScoringForm()},
    )


@requires(Scope.PREDICT)
@require_POST
def start_scoring(request: HttpRequest) -> HttpResponse:
    """Score an uploaded file."""
    form = ScoringForm(request.POST, request.FILES)
    if not form.is_valid():
        context = {"page": page(ScoringJob.objects.visible_to(request), request), "form": form}
        return render(request, "scoring_list.html", context, status=400)
    data = form.cleaned_data
    job = services.queue_scoring(file=data["file"], by=current_user(request), is_explained=data["explain"])
    return start_job(request, job, _("The scoring has begun."))


@require_safe
def scoring_job(request: HttpRequest, pk: int) -> HttpResponse:
    """One scoring job."""
    job = get_object_or_404(ScoringJob.objects.visible_to(request), pk=pk)
    parts = job.parts.aggregate(all=Count("pk"), done=Count("pk", filter=Q(is_done=True)))
    return render(request, "scoring_detail.html", {"job": job, "parts": parts})


@requires(Scope.PREDICT)
@require_POST
def delete_scoring(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a scoring job that is over, with its file and results."""
    # It takes a second to import.
    from predictions import scoring

    job = get_object_or_404(ScoringJob.objects.visible_to(request), pk=pk)
    scoring.delete(job)
    messages.success(request, _("%(job)s is deleted; its predictions stay in the log.") % {"job": job})
    return redirect("scoring")


@require_safe
def scoring_results(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """A finished job's file."""
    return results_response(get_object_or_404(ScoringJob.objects.visible_to(request), pk=pk))


def _posted_outcome(request: HttpRequest) -> bool:
    actual = request.POST.get(LABEL)
    if actual not in ("0", "1"):
        raise Invalid({LABEL: [("invalid", _("Must be 0 or 1."))]})
    return actual == "1"
