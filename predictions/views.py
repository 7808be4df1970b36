"""The pages of predictions."""

import json
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TypedDict
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import reswap

from core import audit, throttles
from core.errors import Invalid, TitanicError
from core.models import Action
from core.pagination import page
from core.roles import Scope, public_form, requires, scopes_of_request
from core.users import current_user
from core.views import start_job
from features.definition import INPUTS
from ingestion.contract import Value
from ingestion.passenger import EXAMPLES, LABEL
from ingestion.schema import FIELD_NAMES, VERBOSE_NAMES, as_row, in_words
from predictions import (
    drift_state,
    erasure,
    explanation,
    feature_table,
    form_check,
    log,
    outcomes,
    scorer,
    services,
    shadow,
    similar_rows,
    time_machine,
    what_if,
)
from predictions.downloads import results_response
from predictions.filters import PredictionFilter
from predictions.form_check import FormCheck
from predictions.forms import DayForm, OutcomesForm, PassengerForm, PersonForm, ScoringForm
from predictions.models import Outcome, Prediction, ScoringJob
from training import observed_rate
from training.metrics import Points
from training.models import ModelVersion
from training.reference import SeenValues

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

#: Beyond so many the predictions that a filter selects are not counted.
MOST_COUNTED = 1_000


@public_form
@requires(Scope.PREDICT)
@require_http_methods(["GET", "HEAD", "POST"])
def predict(request: HttpRequest) -> HttpResponse:
    """Predict for what the form posts, or show what to correct; a GET redirects to the form."""
    if request.method != "POST":
        return redirect("home")
    throttles.throttle_anonymous(request)
    form = PassengerForm(request.POST)
    form.is_valid()
    context = form_context(form)
    try:
        posted = {name: str(value) for name, value in request.POST.items()}
        scoring_request = services.parse_form(posted)
        (answer,) = services.predict(scoring_request)
    except Invalid as error:
        form.add_errors(error.errors)
        # Says to the open page that this error is to be shown, at the field and not at the answer.
        return reswap(render(request, "predict.html", context, status=error.status), "outerHTML")
    passenger = dict(zip(FIELD_NAMES, scoring_request.rows[0], strict=True))
    champion = scorer.champion()
    # Another may have been promoted since.
    calibration = champion.calibration if champion.version == answer.model_version else Points([], [])
    shown = {
        "answer": answer,
        "label": LABEL,
        "features": feature_table.of(answer.features, answer.drift or None),
        "interval": observed_rate.near(calibration, answer.probability),
        "curl": _curl(request, passenger),
        "link": request.build_absolute_uri(reverse("prediction", args=[answer.id])),
    }
    return render(request, "predict.html", {**context, **shown})


@public_form
@requires(Scope.PREDICT)
@require_http_methods(["GET", "HEAD", "POST"])
def check_form(request: HttpRequest) -> HttpResponse:
    """Check the form while it is filled in, for htmx; without a script, show it again with what was found."""
    if request.method != "POST":
        return redirect("home")
    throttles.throttle_anonymous(request, counter="check")
    form = PassengerForm(request.POST)
    form.is_valid()
    context = form_context(form)
    if not request.htmx:  # type: ignore[attr-defined]
        form.add_errors(context["check"].errors)
        return render(request, "predict.html", context)
    notes = [
        (field.auto_id, *([message for _code, message in found.get(field.name, [])] for found in context["check"][:2]))
        for field in form
    ]
    return render(request, "predict_check.html", {**context, "notes": notes})


def starting_form(request: HttpRequest) -> PassengerForm:
    """Build the form that a page begins with: empty, with an example's values, or with those of a prediction."""
    example, prediction_id = request.GET.get("example", ""), request.GET.get("from", "")
    if example in (names := [str(number) for number in range(1, len(EXAMPLES) + 1)]):
        return PassengerForm.filled_with(list(EXAMPLES.values())[names.index(example)])
    # The log is for readers alone.
    if prediction_id and Scope.READ in scopes_of_request(request):
        with suppress(ValueError, Http404):
            return PassengerForm.filled_with(as_row(log.get(UUID(prediction_id))))
    return PassengerForm()


class FormContext(TypedDict):
    """What the form's template shows."""

    form: PassengerForm
    check: FormCheck
    examples: Iterable[tuple[int, "StrOrPromise"]]


def form_context(form: PassengerForm) -> FormContext:
    """Collect what the form's template shows."""
    return {"form": form, "check": form_check.check(form.values()), "examples": enumerate(EXAMPLES, start=1)}


@require_safe
def predictions(request: HttpRequest) -> HttpResponseBase:
    """List the prediction log, newest first; download with `?format=csv` what the filter selects."""
    # A browser sends a field that is left empty too.
    filters = PredictionFilter({name: value for name, value in request.GET.items() if value})
    rows = filters.predictions() if filters.is_valid() else Prediction.objects.none()
    chosen = sorted(filters.data.keys() & filters.fields.keys())
    if request.GET.get("format") == "csv" and filters.is_valid():
        audit.record(Action.DOWNLOADED, "predictions", after={"by": ", ".join(chosen) or "everything"})
        headers = {"Content-Disposition": 'attachment; filename="predictions.csv"'}
        return StreamingHttpResponse(rows.as_csv(), content_type="text/csv; charset=utf-8", headers=headers)
    shown = page(rows, request)
    stored_count = filters.stored_count() if filters.is_valid() else None
    # What is not counted where it is stored is counted as far as it takes no time.
    is_one_page = not (shown.is_later_page or shown.next_page)
    is_counted = stored_count is None and filters.is_valid() and not is_one_page
    context = {
        "page": shown,
        "filter": filters,
        "is_filtered": bool(chosen),
        "form": OutcomesForm(),
        "stored_count": stored_count,
        "count": rows[: MOST_COUNTED + 1].count() if is_counted else len(shown.rows),
        "most_counted": MOST_COUNTED,
        "query": urlencode({name: filters.data[name] for name in chosen} | {"format": "csv"}),
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
    note = drift_state.note(seen_values, matrix)
    context = {
        "prediction": prediction,
        "label": LABEL,
        "passenger": [(VERBOSE_NAMES[name], in_words(name, value)) for name, value in passenger.items()],
        "features": feature_table.of(scorer.Features(*matrix[0].tolist()), note),
        "outcome": Outcome.objects.filter(pk=pk).first(),
        "drift": note,
        "interval": observed_rate.near(version.evaluation.curves.cross_validation.calibration, prediction.probability)
        if version
        else None,
        "curl": _curl(request, passenger),
        "link": request.build_absolute_uri(),
    }
    return render(request, "prediction_detail.html", context)


@require_safe
def explain(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Explain a prediction; a fragment of its page, or a page of its own."""
    throttles.throttle_anonymous(request)
    prediction = log.get(pk)
    explained = explanation.explain(prediction)
    # Beside an answer stand the strongest reasons alone.
    is_short = "short" in request.GET
    context = {
        "prediction": prediction,
        "explanation": explained,
        "is_short": is_short,
        "steps": [
            (VERBOSE_NAMES.get(step.field), in_words(step.field, step.value), step)
            for step in explanation.waterfall(explained, most=3 if is_short else None)
        ],
    }
    template = "prediction_why.html" if request.htmx else "prediction_why_page.html"  # type: ignore[attr-defined]
    return render(request, template, context)


@require_safe
def what_if_page(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show what would be answered with other values; a fragment of a prediction's page, or a page of its own."""
    throttles.throttle_anonymous(request)
    prediction = log.get(pk)
    posted = {name: str(value) for name, value in request.GET.items() if name in INPUTS}
    asked = what_if.ask(prediction, posted, unknown=request.GET.getlist(what_if.UNKNOWN))
    context = {"prediction": prediction, "asked": asked, "part": "prediction_what_if.html", "heading": _("What if")}
    # A part is swapped in with what it says is wrong.
    status = 400 if asked.errors and not request.htmx else 200  # type: ignore[attr-defined]
    return render(request, _part(request, context), context, status=status)


@require_safe
def similar(request: HttpRequest, pk: UUID) -> HttpResponse:
    """List the training rows most like a prediction's; a fragment of its page, or a page of its own."""
    throttles.throttle_anonymous(request)
    prediction = log.get(pk)
    version = ModelVersion.objects.with_history().filter(version=prediction.model_version).first()
    rows = similar_rows.of(prediction, version) if version else []
    context = {
        "prediction": prediction,
        "version": version,
        "rows": [
            (row, [(VERBOSE_NAMES[name], in_words(name, value)) for name, value in row.differences.items()])
            for row in rows
        ],
        "positive_count": sum(row.label for row in rows),
        "part": "prediction_similar.html",
        "heading": _("Similar rows"),
    }
    return render(request, _part(request, context), context)


@require_safe
def versions(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show what other versions answer; a fragment of a prediction's page, or a page of its own."""
    throttles.throttle_anonymous(request)
    prediction = log.get(pk)
    form = DayForm(request.GET if "on" in request.GET else None)
    then = time_machine.at(form.cleaned_data["on"], prediction) if form.is_valid() else None
    context = {
        "prediction": prediction,
        "form": form,
        "then": then,
        "answers": time_machine.today(prediction),
        "part": "prediction_versions.html",
        "heading": _("Other versions"),
    }
    status = 400 if form.errors and not request.htmx else 200  # type: ignore[attr-defined]
    return render(request, _part(request, context), context, status=status)


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
        form.add_error("file", str(error.message))
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
    job = services.queue_scoring(
        file=data["file"], by=current_user(request), is_explained=data["explain"], **form.reading_options()
    )
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


def _part(request: HttpRequest, context: Mapping[str, object]) -> str:
    """Name the template: the part for a page that includes it, else a page around it."""
    return str(context["part"]) if request.htmx else "prediction_part_page.html"  # type: ignore[attr-defined]


def _curl(request: HttpRequest, passenger: Mapping[str, Value]) -> str:
    """Write the request to the API for this passenger, as one types it in a shell."""
    body = json.dumps({name: value for name, value in passenger.items() if value is not None}, ensure_ascii=False)
    address = request.build_absolute_uri(reverse("api_predictions"))
    headers = """ -H 'Content-Type: application/json' -H "Authorization: Token $TOKEN" """
    return f"curl {shlex.quote(address)}{headers}-d {shlex.quote(body)}"


def _posted_outcome(request: HttpRequest) -> bool:
    actual = request.POST.get(LABEL)
    if actual not in ("0", "1"):
        raise Invalid({LABEL: [("invalid", _("Must be 0 or 1."))]})
    return actual == "1"
