"""The pages of monitoring."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from django.contrib import messages
from django.contrib.staticfiles import finders
from django.db.models import Prefetch
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from rest_framework.renderers import JSONRenderer

from core.csv_injection import csv_lines
from core.errors import Invalid, TitanicError
from core.jobs import kinds
from core.pagination import page
from core.redis import RedisUnavailable
from core.roles import Scope, requires
from core.users import current_user
from core.views import Confirmation, confirm, start_job
from features.services import current_batch
from monitoring import alerts, charts, consistency, drift_pages, health, history, performance, services
from monitoring.alert_kinds import Kind
from monitoring.drift_forms import DriftCheckFilter, WindowForm
from monitoring.forms import AlertFilter, AlertRuleForm, NoteForm
from monitoring.models import Alert, AlertRule, DriftCheck, DriftWatch, FeatureDrift, PerformanceCheck
from monitoring.serializers import DriftCheckSerializer
from predictions import rejections
from predictions.models import Channel, ScoringJob
from training.models import WEIGHTY_OF_VERSION, ModelVersion
from training.services import queue_run

_ALERTS_SHOWN = 50
_DELIVERIES_SHOWN = 50
_CHECKS_PER_PAGE = 25


@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """Show alerts, readiness, consistency, drift and live performance."""
    latest = DriftCheck.objects.routine().select_related("version").first()
    try:
        consistency_check = consistency.last()
    except RedisUnavailable:
        consistency_check = None
    context = {
        "health": health.report(),
        "latest": latest,
        "watch": DriftWatch.objects.of_champion(),
        "alerts": Alert.objects.open_first()[:_ALERTS_SHOWN],
        "consistency": consistency_check,
        "live": performance.latest(),
    }
    return render(request, "monitoring.html", context)


@require_safe
def alert_list(request: HttpRequest) -> HttpResponse:
    """List the alerts, newest first."""
    filters = AlertFilter(request.GET)
    context = {"page": page(filters.alerts(), request), "filter": filters, "is_filtered": any(filters.data.values())}
    return render(request, "alert_list.html", context, status=400 if filters.errors else 200)


@require_safe
def alert(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one alert: what, since when, who looks after it, what to do."""
    return _show(request, get_object_or_404(Alert, pk=pk), NoteForm())


@require_POST
def acknowledge_alert(request: HttpRequest, pk: int) -> HttpResponse:
    """Record that the user looks after an alert."""
    alert, form = get_object_or_404(Alert, pk=pk), NoteForm(request.POST)
    if not form.is_valid():
        return _show(request, alert, form)
    alerts.acknowledge(alert, by=current_user(request), note=form.cleaned_data["note"])
    return redirect(alert)


@require_POST
def resolve_alert(request: HttpRequest, pk: int) -> HttpResponse:
    """Resolve an alert by the user's word."""
    alert, form = get_object_or_404(Alert, pk=pk), NoteForm(request.POST)
    if not form.is_valid():
        return _show(request, alert, form)
    alerts.resolve(alert, by=current_user(request), note=form.cleaned_data["note"])
    return redirect(alert)


@require_POST
def silence_alert(request: HttpRequest, pk: int) -> HttpResponse:
    """Silence the rule of an alert for some hours, or end that."""
    alert = get_object_or_404(Alert, pk=pk)
    rule = get_object_or_404(AlertRule, kind=alert.kind)
    hours = request.POST.get("hours", "")
    if hours not in map(str, alerts.SILENCE_HOURS):
        raise TitanicError(_("Choose one of the times that are offered."), field="hours")
    alerts.silence(rule, hours=int(hours))
    return redirect(alert)


@require_safe
def alert_rules(request: HttpRequest) -> HttpResponse:
    """List the rules of alerts."""
    return render(request, "alert_rule_list.html", {"rules": AlertRule.objects.all()})


@requires(Scope.OPERATE, even_to_read=True)
@require_http_methods(["GET", "HEAD", "POST"])
def alert_rule(request: HttpRequest, pk: int) -> HttpResponse:
    """Edit a rule."""
    rule = get_object_or_404(AlertRule, pk=pk)
    form = AlertRuleForm(request.POST if request.method == "POST" else None, rule=rule)
    if form.is_valid():
        form.save_audited()
        messages.success(request, _("Saved."))
        return redirect("alert_rules")
    return render(request, "alert_rule.html", {"rule": rule, "form": form}, status=400 if form.errors else 200)


@require_safe
def drift_checks(request: HttpRequest) -> HttpResponse:
    """List the drift checks, and the way to a new one."""
    return _drift_list(request, WindowForm())


def _drift_list(request: HttpRequest, form: WindowForm) -> HttpResponse:
    # A browser sends a field that is left empty too.
    filters = DriftCheckFilter({name: value for name, value in request.GET.items() if value})
    checks = filters.checks(request) if filters.is_valid() else DriftCheck.objects.none()
    tests = Prefetch("features", FeatureDrift.objects.defer("distribution"))
    rows = page(checks.defer(*WEIGHTY_OF_VERSION).prefetch_related(tests), request, size=_CHECKS_PER_PAGE)
    # Those of files would hide the course of live traffic.
    mapped = drift_pages.mapped(rows.rows if filters.data.get("scoring_job") else [
        check for check in rows.rows if check.scoring_job_id is None
    ])  # fmt: skip
    try:
        rejected = rejections.recent()
    except RedisUnavailable:
        rejected = []
    week_ago = timezone.now() - timedelta(days=rejections.DAYS)
    request_count = history.answered_count(week_ago) + sum(row.request_count for row in rejected)
    context = {
        "rejections": [(row, row.request_count / request_count) for row in rejected],
        "page": rows,
        "filter": filters,
        "is_filtered": bool(filters.data.keys() & filters.fields.keys()),
        "form": form,
        "watch": DriftWatch.objects.of_champion(),
        "mapped": mapped,
        "heat_map": drift_pages.heat_map(mapped),
    }
    return render(request, "drift_list.html", context, status=400 if form.errors else 200)


@require_safe
def drift_check(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one check with its tests."""
    return render(request, "drift_detail.html", _check_context(request, pk))


@require_safe
def drift_file(request: HttpRequest, pk: int, form: str) -> HttpResponse:
    """Download a check as CSV, JSON, or one HTML file that needs no other."""
    context = _check_context(request, pk)
    check = context["job"]
    assert isinstance(check, DriftCheck)
    if form == "csv":
        content: bytes | Iterator[str] = csv_lines(drift_pages.csv_rows(check))
    elif form == "json":
        content = JSONRenderer().render(DriftCheckSerializer(check).data)
    elif form == "html":
        context["styles"] = Path(str(finders.find("css/app.css"))).read_text()
        content = render(request, "drift_file_page.html", context).content
    else:
        raise Http404
    types = {"csv": "text/csv", "json": "application/json", "html": "text/html"}
    headers = {"Content-Disposition": f'attachment; filename="drift-check-{check.pk}.{form}"'}
    return HttpResponse(content, content_type=f"{types[form]}; charset=utf-8", headers=headers)


def _check_context(request: HttpRequest, pk: int) -> dict[str, object]:
    checks = DriftCheck.objects.visible_to(request).select_related("version", "scoring_job")
    check = get_object_or_404(checks.prefetch_related("features"), pk=pk)
    return {
        "job": check,
        "views": drift_pages.test_views(check.features.all()),
        "drifted": sorted({drift_pages.feature_label(test.name) for test in check.features.all() if test.drifted}),
        "query": drift_pages.predictions_query(check),
        "alert": Alert.objects.open().filter(kind=Kind.DRIFT).first(),
    }


@requires(Scope.OPERATE, even_to_read=True)
@require_http_methods(["GET", "HEAD", "POST"])
def retrain(request: HttpRequest, pk: int) -> HttpResponse:
    """Start a training because of what a check found, once a person has confirmed it."""
    check = get_object_or_404(DriftCheck.objects.visible_to(request), pk=pk)
    batch = current_batch()
    if request.method == "POST":
        return start_job(request, queue_run(batch=batch), _("The training has begun."))
    names = {"check": check, "batch": batch, "dataset": batch.dataset}
    texts = [
        _("A new version is trained from %(batch)s of %(dataset)s: where newer data are there, load them first."),
        _("The gate judges it: it serves if it is good enough, and otherwise the champion goes on serving."),
    ]
    return confirm(
        request,
        Confirmation(
            title=_("Retrain after %(check)s?") % names,
            consequences=[text % names for text in texts],
            submit=_("Retrain"),
            back=check.get_absolute_url(),
        ),
    )


@require_POST
def start_check(request: HttpRequest) -> HttpResponse:
    """Check a window now: the latest, unless the form says otherwise."""
    form = WindowForm(request.POST)
    if not form.is_valid():
        return _drift_list(request, form)
    try:
        check = services.queue_check(
            **{name: value for name, value in form.cleaned_data.items() if value not in ("", None)}
        )
    except Invalid as error:
        for name, errors in error.errors.items():
            for _code, message in errors:
                form.add_error(name, message)
        return _drift_list(request, form)
    return start_job(request, check, _("The drift check has begun."))


@require_safe
def file_report(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a scoring job's drift report, as a fragment of its page."""
    get_object_or_404(ScoringJob.objects.visible_to(request), pk=pk)
    check = DriftCheck.objects.filter(scoring_job=pk).first()
    return render(request, "drift_file.html", {"check": check, "scoring_job": pk})


@require_safe
def drift_state(request: HttpRequest) -> HttpResponse:
    """Show the state of the drift watch, as a fragment that other apps' pages include."""
    return render(request, "_components/watch_state.html", {"watch": DriftWatch.objects.of_champion()})


def _about(alert: Alert) -> str:
    """Return the address of what an alert is about, where that has a page of its own: of a failed job its run."""
    if alert.kind == Kind.FAILED_JOB and (number := alert.subject.parameters.get("id")):
        for model in kinds():
            job = model._default_manager.filter(pk=number).first()
            if job is not None and job.title.text == alert.subject.text:
                return reverse("run", args=[model._meta.model_name, job.pk])
    pages = {Kind.DRIFT.value: "drift_checks", Kind.OVERDUE.value: "schedules"}
    return reverse(pages[alert.kind]) if alert.kind in pages else ""


def _show(request: HttpRequest, alert: Alert, form: NoteForm) -> HttpResponse:
    rule = AlertRule.objects.filter(kind=alert.kind).first()
    context = {
        "alert": alert,
        "about": _about(alert),
        "form": form,
        "rule": rule,
        "deliveries": alert.deliveries.all()[:_DELIVERIES_SHOWN],
        "retrainings": alert.retrainings.select_related("run")[:_DELIVERIES_SHOWN],
    }
    return render(request, "alert_detail.html", context, status=400 if form.errors else 200)


@require_safe
def performance_checks(request: HttpRequest) -> HttpResponse:
    """Show what the champion's last check found, and list all checks."""
    latest = performance.latest()
    context = {
        "champion": ModelVersion.objects.champion(),
        "latest": latest,
        **_performance(latest),
        "page": page(PerformanceCheck.objects.select_related("version").defer("figures", *WEIGHTY_OF_VERSION), request),
    }
    return render(request, "performance_list.html", context)


@require_safe
def performance_check(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one check with its charts and tables."""
    check = get_object_or_404(PerformanceCheck.objects.select_related("version"), pk=pk)
    return render(request, "performance_detail.html", {"job": check, **_performance(check)})


@require_POST
def start_performance_check(request: HttpRequest) -> HttpResponse:
    """Check the champion now."""
    job = performance.queue_check(without_anonymous="without_anonymous" in request.POST)
    return start_job(request, job, _("The performance check has begun."))


def _performance(check: PerformanceCheck | None) -> dict[str, object]:
    """Lay a check's report out for its page; it is None before the check has succeeded."""
    report = check.evaluation if check else None
    if report is None:
        return {"report": None, "charts": []}
    return {
        "report": report,
        "charts": charts.accuracy(report),
        "figures": charts.figures(report),
        "slices": [(_(group.name), group) for group in report.slices],
        "channels": [(Channel(group.name).label, group) for group in report.channels],
    }
