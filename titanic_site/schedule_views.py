"""The pages of schedules."""

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_celery_beat.models import PeriodicTask

from core.errors import Forbidden
from core.pagination import page_by_name
from core.roles import scopes_of_request
from titanic_site import schedule_list, timetables
from titanic_site import schedules as planned
from titanic_site.forms import TimetableForm


@require_safe
def schedules(request: HttpRequest) -> HttpResponse:
    """List the schedules, those that keep the product itself running apart."""
    every = PeriodicTask.objects.select_related(*schedule_list.TIMETABLES)
    is_internal = Q(name__in=[schedule.name for schedule in planned.defaults() if schedule.is_internal])
    page = page_by_name(every.exclude(is_internal), request, parameter="after")
    rows = schedule_list.rows([*page.rows, *every.filter(is_internal).order_by("name")])
    context = {
        "page": page,
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
    context = {
        **vars(schedule_list.detail(task)),
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
