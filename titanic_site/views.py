"""The pages that span the apps: the front page, all runs, storage, the audit trail."""

import json
import logging
import re
import sys
from itertools import chain

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _
from django.views import defaults
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe

from core import moments
from core.csv_injection import csv_lines
from core.errors import Conflict, Forbidden, InternalError, TitanicError, to_api_error
from core.jobs import Job, enqueue
from core.models import AuditEntry, JobLogLine
from core.pagination import SIZE, page, page_of
from core.roles import Scope, public_form, requires, scopes_of_request
from core.views import start_job
from features.models import FeatureBatch
from monitoring import history
from predictions import log
from predictions.models import DeadLetter
from predictions.views import form_context, starting_form
from titanic_site import job_list, overview, pipeline, run_pages, search
from titanic_site import storage as stored
from titanic_site.forms import AuditFilter, DisplayForm, RunFilter, SearchForm
from titanic_site.middleware import API_PATHS, error_json, error_page
from titanic_site.runtime import start_link as link
from training.models import ModelVersion, Stage, TrainingRun

#: Of more rejected log entries, these are tried again at a time.
_MOST_RETRIED = 1000
#: Of a longer log a page shows the end; all of it is downloaded.
_LINES_SHOWN = 500
_TASK_ID = re.compile(r"([a-z]+)-([0-9]{1,9})")

_YEAR = 365 * 24 * 3600


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
    sentence = overview.sentence(request, ModelVersion.objects.champion())
    context = {**form_context(starting_form(request)), "sentence": sentence}
    return render(request, "predict.html", context)


@require_safe
def overview_page(request: HttpRequest) -> HttpResponse:
    """Show how things stand, where whoever signs in arrives."""
    chosen = request.GET.get("range", "day")
    if chosen not in history.RANGES:
        raise TitanicError(_("Choose one of the times that are offered."), field="range")
    champion = ModelVersion.objects.with_history().filter(stage=Stage.CHAMPION).first()
    latest = overview.LatestJobs(request)
    stages = overview.stages(champion, latest)
    labels = {"hours": _("6 hours"), "day": _("24 hours"), "week": _("7 days"), "month": _("30 days")}
    context = {
        "sentence": overview.sentence(request, champion, latest=latest),
        "stages": stages,
        "is_empty": not any(stage.subject for stage in stages),
        "problems": list(overview.problems(champion, latest)),
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
    """List the jobs of all kinds, or those that the filter selects, and draw how long they took."""
    # A browser sends a field that is left empty too.
    data = {name: value for name, value in request.GET.items() if value and name in RunFilter.base_fields}
    filters = RunFilter(data)
    jobs: list[Job] = []
    if filters.is_valid():
        selection = job_list.Selection(**filters.cleaned_data)
        before = moments.parse(request.GET.get("before", ""))
        jobs = job_list.newest(request, before=before, count=SIZE + 1, selection=selection)
    newest = page_of(jobs, request.GET, key=lambda job: job.created_at.isoformat())
    context = {
        "page": newest,
        "filter": filters,
        "is_filtered": bool(data),
        "chart": run_pages.durations(newest.rows),
    }
    return render(request, "run_list.html", context, status=400 if filters.errors else 200)


@require_safe
def run(request: HttpRequest, kind: str, pk: int) -> HttpResponse:
    """Show one job: how it stands, what it repeats, its stages, what it was made of and what came of it, its log."""
    job = _visible_job(request, kind, pk)
    lines = JobLogLine.objects.filter(task_id=job.task_id)
    level = request.GET.get("level", "")
    shown = lines.filter(level__gte=logging.WARNING) if level == "warning" else lines
    verdict = run_pages.verdict(job)
    made_url = verdict[0].get_absolute_url() if verdict else job.get_absolute_url()
    training = job if isinstance(job, TrainingRun) else None
    context = {
        "job": job,
        # In a Q: mypy's plugin fails at an abstract model's foreign key to itself.
        "repetitions": job_list.visible(type(job), request).filter(Q(repeats=pk)).order_by("pk"),
        "stages": run_pages.stages(job, lines.filter(is_stage=True)),
        "facts": run_pages.facts(job),
        "verdict": verdict,
        "made_url": "" if made_url == request.path else made_url,
        "search": training and training.search_progress,
        "retrainings": training.retrainings.select_related("alert")[:SIZE] if training else [],
        "lines": list(shown.order_by("-pk")[:_LINES_SHOWN])[::-1],
        "level": level,
        "most": _LINES_SHOWN,
    }
    return render(request, "run.html", context)


@require_safe
def run_log(request: HttpRequest, kind: str, pk: int) -> StreamingHttpResponse:
    """Download a job's log as text."""
    job = _visible_job(request, kind, pk)
    lines = JobLogLine.objects.filter(task_id=job.task_id).iterator()
    text = (f"{line.at:%Y-%m-%dT%H:%M:%S.%fZ} {logging.getLevelName(line.level)} {line.text}\n" for line in lines)
    headers = {"Content-Disposition": f'attachment; filename="{job.task_id}.log"'}
    return StreamingHttpResponse(text, content_type="text/plain; charset=utf-8", headers=headers)


@requires(Scope.PREDICT)
@require_POST
def run_many_again(request: HttpRequest) -> HttpResponse:
    """Run the chosen jobs again; says of each that cannot be why not."""
    chosen = [_TASK_ID.fullmatch(text) for text in request.POST.getlist("run")[:SIZE]]
    jobs = [_job(request, match[1], int(match[2])) for match in chosen if match]
    if not jobs:
        raise TitanicError(_("Choose the runs that are to start again."), field="run")
    count = 0
    for job in jobs:
        try:
            enqueue(job.rerun())
            count += 1
        except Conflict as error:
            messages.error(request, f"{job}: {error.message}")
    messages.info(request, ngettext("%(n)s run started again.", "%(n)s runs started again.", count) % {"n": count})
    return redirect("runs")


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
    target = _next(request, otherwise=reverse("overview"))
    if link.sign_in(request, request.GET.get("token", "")) or request.user.is_authenticated:
        return redirect(target)
    messages.warning(
        request,
        _("This link has been used, has expired or is incomplete. Sign in here, or start again for a new link."),
    )
    return redirect_to_login(target)


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def display(request: HttpRequest) -> HttpResponse:
    """Show how the pages are displayed, or keep what is posted of it in cookies and return to `next`."""
    if request.method != "POST":
        now = {"theme": request.COOKIES.get("theme"), "language": get_language()}
        form = DisplayForm(initial={**now, "time_zone": timezone.get_current_timezone_name()})
        return render(request, "display.html", {"form": form})
    form = DisplayForm(request.POST)
    if not form.is_valid():
        return render(request, "display.html", {"form": form}, status=400)
    response = redirect(_next(request, otherwise=reverse("home")))
    for name in form.cleaned_data.keys() & request.POST.keys():
        response.set_cookie(
            name, form.cleaned_data[name], max_age=_YEAR, secure=settings.HTTPS, httponly=True, samesite="Lax"
        )
    return response


@require_safe
def dataset_lineage(request: HttpRequest, pk: int) -> HttpResponse:
    """Show, as a part of a dataset's page, the features and models made of it."""
    batches = FeatureBatch.objects.filter(dataset=pk).prefetch_related("training_runs__version")
    return render(request, "dataset_detail_lineage.html", {"batches": batches})


@require_safe
def search_page(request: HttpRequest) -> HttpResponse:
    """List what a text names; redirect to the one row whose id or title it is."""
    form = SearchForm(request.GET)
    text = form.cleaned_data["q"] if form.is_valid() else ""
    groups = search.find(text, request) if text else []
    if hit := search.exact_hit(groups):
        return redirect(hit)
    context = {"form": form, "text": text, "groups": groups, "most": search.MOST_HITS}
    return render(request, "search.html", context, status=400 if form.errors else 200)


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


def _next(request: HttpRequest, *, otherwise: str) -> str:
    """Return the address of this site that a request names as the next."""
    address = request.POST.get("next") or request.GET.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure())
    return address if is_ours else otherwise


def _visible_job(request: HttpRequest, kind: str, pk: int) -> Job:
    """Return a job that the request may see; raises Http404."""
    model = job_list.model_of(kind)
    if model is None:
        raise Http404
    job: Job = get_object_or_404(job_list.visible(model, request).select_related("repeats"), pk=pk)
    return job


def _job(request: HttpRequest, kind: str, pk: int) -> Job:
    """Return a job that the request may change; raises Http404, Forbidden."""
    job = _visible_job(request, kind, pk)
    if job.scope not in scopes_of_request(request):
        raise Forbidden
    return job
