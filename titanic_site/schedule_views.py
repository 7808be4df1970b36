"""The pages of schedules."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_celery_beat.models import PeriodicTask

from core import redis, schedule_runs
from core.errors import Forbidden
from core.roles import scopes_of_request
from core.schedule_runs import ScheduleRun
from titanic_site import schedules as planned
from titanic_site import timetables
from titanic_site.forms import TimetableForm


@dataclass(frozen=True)
class Row:
    """A schedule as the pages show it."""

    schedule: PeriodicTask
    label: planned.Label
    when: str
    next_at: datetime | None
    is_due: bool
    last_run: ScheduleRun | None

    @property
    def last_at(self) -> datetime | None:
        """When it last ran, or was last sent: a run may have been stopped, and a worker be busy."""
        return self.last_run.started_at if self.last_run else self.schedule.last_run_at


@require_safe
def schedules(request: HttpRequest) -> HttpResponse:
    """List the schedules, those that keep the product itself running apart."""
    tasks = list(PeriodicTask.objects.select_related("interval", "crontab", "solar", "clocked").order_by("name"))
    labels, now = planned.labels(tasks), timezone.now()
    last_runs: dict[str, list[ScheduleRun]] = {}
    with suppress(*redis.RedisUnavailable):
        last_runs = schedule_runs.newest([task.name for task in tasks])
    rows = []
    for task in tasks:
        next_at = next(iter(timetables.next_runs(task, now=now, count=1)), None)
        last_run = next(iter(last_runs.get(task.name, [])), None)
        rows.append(Row(task, labels[task.pk], timetables.in_words(task), next_at, next_at == now, last_run))
    context = {
        "rows": [row for row in rows if not row.label.is_internal],
        "internal_rows": [row for row in rows if row.label.is_internal],
    }
    return render(request, "schedule_list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def schedule(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a schedule with its next and its last runs, or change when it runs."""
    if request.method == "POST":
        task = _changeable(request, pk)
        form = TimetableForm(request.POST, schedule=task)
        if form.is_valid():
            form.save()
            messages.success(request, _("The schedule is changed: %(when)s.") % {"when": timetables.in_words(task)})
            return redirect("schedule", pk)
    else:
        task = get_object_or_404(PeriodicTask, pk=pk)
        form = TimetableForm(schedule=task)
    runs = None
    with suppress(*redis.RedisUnavailable):
        runs = schedule_runs.newest([task.name], count=schedule_runs.KEPT)[task.name]
    context = {
        "schedule": task,
        "label": planned.labels([task])[task.pk],
        "when": timetables.in_words(task),
        "next_runs": timetables.next_runs(task, now=timezone.now()),
        "runs": runs,
        "form": form,
        "may_change": planned.may_change([task], scopes=scopes_of_request(request)),
    }
    return render(request, "schedule_detail.html", context, status=400 if form.errors else 200)


@require_POST
def switch_schedule(request: HttpRequest, pk: int) -> HttpResponse:
    """Switch a schedule on or off."""
    task = _changeable(request, pk)
    planned.switch(task, is_enabled=request.POST.get("enabled") == "on")
    messages.success(request, _("The schedule is switched on.") if task.enabled else _("The schedule is switched off."))
    return redirect("schedule", pk)


@require_POST
def run_schedule(request: HttpRequest, pk: int) -> HttpResponse:
    """Run a schedule's task now."""
    planned.run_now(get_object_or_404(PeriodicTask, pk=pk))
    messages.info(request, _("Sent to a worker: the run appears below when it is over."))
    return redirect("schedule", pk)


def _changeable(request: HttpRequest, pk: int) -> PeriodicTask:
    """Return a schedule that the request may change; raises Http404, Forbidden."""
    task: PeriodicTask = get_object_or_404(PeriodicTask, pk=pk)
    if not planned.may_change([task], scopes=scopes_of_request(request)):
        raise Forbidden
    return task
