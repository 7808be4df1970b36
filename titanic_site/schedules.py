"""The default schedules: made when missing, and never changed once a person may have edited them."""

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings
from django_celery_beat.models import IntervalSchedule, PeriodicTask

_HEARTBEAT_NAME = "Queue heartbeat: {queue}"


@dataclass(frozen=True)
class Schedule:
    """A task, its interval, and its queue."""

    name: str
    task: str
    every: timedelta
    queue: str
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def expires_seconds(self) -> int:
        """When a message expires: after an interval the next one is there."""
        return int(self.every.total_seconds())


def defaults() -> list[Schedule]:
    """Return the default schedules."""
    heartbeats = [
        Schedule(_HEARTBEAT_NAME.format(queue=queue), "titanic_site.tasks.heartbeat", timedelta(seconds=20), queue,
                 {"queue": queue})
        for queue in settings.QUEUES
    ]  # fmt: skip
    return [
        Schedule("Retrain", "titanic_site.tasks.retrain", timedelta(days=7), "training"),
        Schedule("Write prediction log to PostgreSQL", "predictions.tasks.drain", timedelta(seconds=1), "fast"),
        Schedule("Maintain prediction log partitions", "predictions.tasks.maintain_log", timedelta(days=1), "default"),
        Schedule("Shadow scoring", "predictions.tasks.shadow_scoring", timedelta(seconds=15), "scoring"),
        Schedule("Evaluate alerts", "monitoring.tasks.evaluate_alerts", timedelta(seconds=10), "fast"),
        Schedule(
            "Consistency check across channels", "monitoring.tasks.check_consistency", timedelta(minutes=1), "default"
        ),
        Schedule("Check drift", "monitoring.tasks.scheduled_check", timedelta(hours=1), "default"),
        Schedule("Archive old datasets", "ingestion.tasks.archive_old", timedelta(days=1), "default"),
        Schedule("Repair feature store", "features.tasks.repair", timedelta(minutes=1), "default"),
        Schedule("Expire old features", "titanic_site.tasks.expire_features", timedelta(hours=1), "default"),
        Schedule("Recover stale jobs", "titanic_site.tasks.recover_stale_jobs", timedelta(seconds=15), "fast"),
        *heartbeats,
    ]


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
