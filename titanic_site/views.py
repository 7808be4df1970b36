"""The pages that span the apps: the front page, all runs, storage, the audit trail."""

import json
import sys
from itertools import chain

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views import defaults
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST, require_safe

from core import moments
from core.csv_injection import csv_lines
from core.errors import Forbidden, InternalError, TitanicError, to_api_error
from core.jobs import Job
from core.models import AuditEntry
from core.pagination import SIZE, page, page_of
from core.roles import Scope, public_form, requires, scopes_of_request
from core.views import start_job
from features.models import FeatureBatch
from monitoring import history
from predictions import log
from predictions.models import DeadLetter
from predictions.views import form_context, starting_form
from titanic_site import job_list, overview, pipeline
from titanic_site import storage as stored
from titanic_site.forms import AuditFilter
from titanic_site.middleware import API_PATHS, error_json, error_page
from titanic_site.runtime import start_link as link

#: Of more rejected log entries, these are tried again at a time.
_MOST_RETRIED = 1000


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what Django rejects before any view: as a page, or in the API's shape."""
    if API_PATHS.match(request.path_info):
        return error_json(request, TitanicError(_("This request cannot be understood.")))
    return defaults.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer what fails outside any view, such as looking a session up while PostgreSQL is unavailable."""
    exception = sys.exception()
    error = to_api_error(exception) if isinstance(exception, Exception) else None
    if API_PATHS.match(request.path_info):
        return error_json(request, error or InternalError())
    return error_page(request, error) if error else defaults.server_error(request)


@public_form
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the form, and how things stand."""
    context = {**form_context(starting_form(request)), "sentence": overview.sentence(request)}
    return render(request, "predict.html", context)


@require_safe
def overview_page(request: HttpRequest) -> HttpResponse:
    """Show how things stand, where whoever signs in arrives."""
    chosen = request.GET.get("range", "day")
    if chosen not in history.RANGES:
        raise TitanicError(_("Choose one of the times that are offered."), field="range")
    stages = overview.stages()
    labels = {"hours": _("6 hours"), "day": _("24 hours"), "week": _("7 days"), "month": _("30 days")}
    context = {
        "sentence": overview.sentence(request),
        "stages": stages,
        "is_empty": not any(stage.subject for stage in stages),
        "problems": list(overview.problems(request)),
        "next_runs": overview.next_runs(),
        # What updates itself leaves the charts as they are.
        "charts": [] if request.headers.get("HX-Request") else history.charts(chosen),
        "range": chosen,
        "ranges": labels,
    }
    return render(request, "overview.html", context)


@require_POST
def retry_dead_letters(request: HttpRequest) -> HttpResponse:
    """Try once more to store the entries of the prediction log that PostgreSQL rejected."""
    stored = [log.retry(letter) for letter in DeadLetter.objects.order_by("pk")[:_MOST_RETRIED]]
    texts = {True: _("Stored: %(count)s."), False: _("Rejected again: %(count)s. The admin shows why.")}
    for is_stored, text in texts.items():
        if count := stored.count(is_stored):
            messages.add_message(request, messages.SUCCESS if is_stored else messages.ERROR, text % {"count": count})
    return redirect("overview")


@require_safe
def all_runs(request: HttpRequest) -> HttpResponse:
    """List every job of every kind."""
    jobs = job_list.newest(request, before=moments.parse(request.GET.get("before", "")), count=SIZE + 1)
    newest = page_of(jobs, request.GET, key=lambda job: job.created_at.isoformat())
    return render(request, "run_list.html", {"page": newest})


@requires(Scope.PREDICT)
@require_POST
def run_again(request: HttpRequest, kind: str, pk: int) -> HttpResponse:
    """Run a finished job again."""
    return start_job(request, _job(request, kind, pk).rerun(), _("Started again."))


@requires(Scope.PREDICT)
@require_POST
def run_cancel(request: HttpRequest, kind: str, pk: int) -> HttpResponse:
    """Cancel a job."""
    job = _job(request, kind, pk)
    job.cancel()
    messages.info(request, _("Cancelled."))
    return redirect(job)


@require_POST
def next_step(request: HttpRequest) -> HttpResponse:
    """Queue the first step of the pipeline that has not succeeded."""
    return start_job(request, pipeline.next_step(), _("Started."))


@login_not_required
@never_cache
@require_GET
def start_link(request: HttpRequest) -> HttpResponse:
    """Sign in whoever opens the link that `up` printed, and redirect to `next`."""
    target = request.GET.get("next", "")
    if not url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure()):
        target = reverse("overview")
    if link.sign_in(request, request.GET.get("token", "")) or request.user.is_authenticated:
        return redirect(target)
    messages.warning(
        request,
        _("This link has been used, has expired or is incomplete. Sign in here, or start again for a new link."),
    )
    return redirect_to_login(target)


@require_safe
def dataset_lineage(request: HttpRequest, pk: int) -> HttpResponse:
    """Show, as a part of a dataset's page, the features and models made of it."""
    batches = FeatureBatch.objects.filter(dataset=pk).prefetch_related("training_runs__version")
    return render(request, "dataset_detail_lineage.html", {"batches": batches})


@requires(Scope.OPERATE, even_to_read=True)
@require_safe
def storage(request: HttpRequest) -> HttpResponse:
    """Show the tables and folders that grow, and what users have uploaded."""
    context = {"tables": stored.tables(), "folders": stored.folders(), "uploads": stored.uploads()}
    return render(request, "storage.html", context)


@requires(Scope.ADMIN, even_to_read=True)
@require_safe
def audit(request: HttpRequest) -> HttpResponseBase:
    """List the audit trail, or download with `?format=csv` what the filter selects."""
    filters = AuditFilter(request.GET)
    if request.GET.get("format") == "csv" and filters.is_valid():
        names = [field.name for field in AuditEntry._meta.fields]
        entries = filters.entries().values_list(*names).iterator()
        rows = ([json.dumps(cell) if isinstance(cell, dict) else cell for cell in entry] for entry in entries)
        return StreamingHttpResponse(
            csv_lines(chain([names], rows)),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="audit.csv"'},
        )
    context = {"page": page(filters.entries(), request), "filter": filters, "days": settings.AUDIT_KEPT_DAYS}
    return render(request, "audit_list.html", context, status=400 if filters.errors else 200)


def _job(request: HttpRequest, kind: str, pk: int) -> Job:
    """Return a job that the request may change; raises Http404, Forbidden."""
    model = job_list.model_of(kind)
    if model is None:
        raise Http404
    job: Job = get_object_or_404(job_list.visible(model, request), pk=pk)
    if job.scope not in scopes_of_request(request):
        raise Forbidden
    return job
