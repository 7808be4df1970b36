"""Schedules as pages and the API show them: in words, with their next and their last runs."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from core import redis, schedule_runs
from core.schedule_runs import ScheduleRun
from titanic_site import schedules, timetables

#: What says when a schedule runs.
TIMETABLES = ("interval", "crontab", "solar", "clocked")


@dataclass(frozen=True)
class Row:
    """A schedule in a list."""

    schedule: PeriodicTask
    label: schedules.Label
    when: str
    next_at: datetime | None
    is_due: bool
    last_run: ScheduleRun | None

    @property
    def last_at(self) -> datetime | None:
        """When it last ran, or was last sent: a run may have been stopped, and a worker be busy."""
        return self.last_run.started_at if self.last_run else self.schedule.last_run_at


def rows(tasks: Sequence[PeriodicTask]) -> list[Row]:
    """Look up what a list shows of these schedules; without Redis the last runs are left out."""
    labels, now = schedules.labels(tasks), timezone.now()
    last_runs: dict[str, list[ScheduleRun]] = {}
    with suppress(*redis.RedisUnavailable):
        last_runs = schedule_runs.newest([task.name for task in tasks])
    listed = []
    for task in tasks:
        next_at = next(iter(timetables.next_runs(task, now=now, count=1)), None)
        last_run = next(iter(last_runs.get(task.name, [])), None)
        listed.append(Row(task, labels[task.pk], timetables.in_words(task), next_at, next_at == now, last_run))
    return listed


@dataclass(frozen=True)
class Detail:
    """A schedule by itself; its last runs are None while Redis is unavailable."""

    schedule: PeriodicTask
    label: schedules.Label
    when: str
    next_runs: list[datetime]
    runs: list[ScheduleRun] | None

    @property
    def next_at(self) -> datetime | None:
        """When it runs next."""
        return next(iter(self.next_runs), None)

    @property
    def last_run(self) -> ScheduleRun | None:
        """How the last run went."""
        return next(iter(self.runs or ()), None)


def detail(task: PeriodicTask) -> Detail:
    """Look up what a schedule's own page shows."""
    runs = None
    with suppress(*redis.RedisUnavailable):
        runs = schedule_runs.newest([task.name], count=schedule_runs.KEPT)[task.name]
    label = schedules.labels([task])[task.pk]
    return Detail(task, label, timetables.in_words(task), timetables.next_runs(task, now=timezone.now()), runs)
