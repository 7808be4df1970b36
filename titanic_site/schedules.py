"""The default schedules: made when missing, and never changed once a person may have edited them."""

import json
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.utils.translation import gettext, gettext_noop
from django_celery_beat.models import IntervalSchedule, PeriodicTask

_HEARTBEAT_NAME = gettext_noop("Queue heartbeat: %(queue)s")


@dataclass(frozen=True)
class Schedule:
    """A task, its interval, and its queue."""

    name: str
    task: str
    every: timedelta
    queue: str
    arguments: dict[str, str] = field(default_factory=dict)

    @property
    def expires_seconds(self) -> int:
        """When a message expires: after an interval the next one is there."""
        return int(self.every.total_seconds())


def defaults() -> list[Schedule]:
    """Return the default schedules."""
    heartbeats = [
        Schedule(_HEARTBEAT_NAME % {"queue": queue}, "titanic_site.tasks.heartbeat", timedelta(seconds=20), queue,
                 {"queue": queue})
        for queue in settings.QUEUES
    ]  # fmt: skip
    return [
        Schedule(gettext_noop("Retrain"), "titanic_site.tasks.retrain", timedelta(days=7), "training"),
        Schedule(
            gettext_noop("Write prediction log to PostgreSQL"), "predictions.tasks.drain", timedelta(seconds=1), "fast"
        ),
        Schedule(
            gettext_noop("Maintain prediction log partitions"),
            "predictions.tasks.maintain_log",
            timedelta(days=1),
            "default",
        ),
        Schedule(gettext_noop("Shadow scoring"), "predictions.tasks.shadow_scoring", timedelta(seconds=15), "scoring"),
        Schedule(gettext_noop("Evaluate alerts"), "monitoring.tasks.evaluate_alerts", timedelta(seconds=10), "fast"),
        Schedule(
            gettext_noop("Consistency check across channels"),
            "monitoring.tasks.check_consistency",
            timedelta(minutes=1),
            "default",
        ),
        Schedule(gettext_noop("Check drift"), "monitoring.tasks.scheduled_check", timedelta(hours=1), "default"),
        Schedule(gettext_noop("Archive old datasets"), "ingestion.tasks.archive_old", timedelta(days=1), "default"),
        Schedule(gettext_noop("Repair feature store"), "features.tasks.repair", timedelta(minutes=1), "default"),
        Schedule(
            gettext_noop("Expire old features"), "titanic_site.tasks.expire_features", timedelta(hours=1), "default"
        ),
        Schedule(
            gettext_noop("Recover stale jobs"), "titanic_site.tasks.recover_stale_jobs", timedelta(seconds=15), "fast"
        ),
        *heartbeats,
    ]


def labels() -> dict[str, str]:
    """Return the default schedules' names in the language of the request, by the name that is stored."""
    names = {schedule.name: gettext(schedule.name) for schedule in defaults()}
    queues = ({"queue": queue} for queue in settings.QUEUES)
    return names | {_HEARTBEAT_NAME % queue: gettext(_HEARTBEAT_NAME) % queue for queue in queues}


def create_missing() -> int:
    """Create the default schedules that are missing and return how many those were."""
    created = 0
    for schedule in defaults():
        if PeriodicTask.objects.filter(name=schedule.name).exists():
            continue
        seconds = int(schedule.every.total_seconds())
        interval, _ = IntervalSchedule.objects.get_or_create(every=seconds, period=IntervalSchedule.SECONDS)
        PeriodicTask.objects.create(
            name=schedule.name,
            task=schedule.task,
            interval=interval,
            queue=schedule.queue,
            kwargs=json.dumps(schedule.arguments),
            expire_seconds=schedule.expires_seconds,
        )
        created += 1
    return created
