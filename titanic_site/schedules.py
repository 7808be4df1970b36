"""The default schedules: made when missing, and never changed once a person may have edited them."""

import json
from dataclasses import dataclass, field

from django.conf import settings
from django.utils.translation import gettext, gettext_noop
from django_celery_beat.models import IntervalSchedule, PeriodicTask

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


@dataclass(frozen=True)
class Schedule:
    """A task, the seconds from one run to the next, its queue, and its arguments, which the title may name."""

    title: str
    task: str
    seconds: int
    queue: str
    arguments: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.title % self.arguments


def defaults() -> list[Schedule]:
    """Return the default schedules."""
    title = gettext_noop("Queue heartbeat: %(queue)s")
    heartbeats = [
        Schedule(title, "titanic_site.tasks.heartbeat", 20, queue, {"queue": queue}) for queue in settings.QUEUES
    ]
    return [
        Schedule(gettext_noop("Retrain"), "titanic_site.tasks.retrain", 7 * _DAY, "training"),
        Schedule(gettext_noop("Retrain by alert rules"), "titanic_site.tasks.retrain_by_rule", _MINUTE, "training"),
        Schedule(gettext_noop("Write prediction log to PostgreSQL"), "predictions.tasks.drain", 1, "fast"),
        Schedule(gettext_noop("Maintain prediction log partitions"), "predictions.tasks.maintain_log", _DAY, "default"),
        Schedule(gettext_noop("Shadow scoring"), "predictions.tasks.shadow_scoring", 15, "scoring"),
        Schedule(gettext_noop("Evaluate alerts"), "monitoring.tasks.evaluate_alerts", 10, "fast"),
        Schedule(
            gettext_noop("Consistency check across channels"), "monitoring.tasks.check_consistency", _MINUTE, "default"
        ),
        Schedule(gettext_noop("Measure for Prometheus"), "monitoring.tasks.measure_figures", 10, "fast"),
        Schedule(gettext_noop("Watch drift"), "monitoring.tasks.watch_drift", 1, "fast"),
        Schedule(gettext_noop("Check drift"), "monitoring.tasks.scheduled_check", _HOUR, "default"),
        Schedule(gettext_noop("Check performance"), "monitoring.tasks.scheduled_performance_check", _HOUR, "default"),
        Schedule(
            gettext_noop("Check drift of all features together"),
            "monitoring.tasks.scheduled_multivariate_check",
            _DAY,
            "default",
        ),
        Schedule(gettext_noop("Compare scored files"), "monitoring.tasks.report_on_files", 15, "default"),
        Schedule(gettext_noop("Archive old datasets"), "ingestion.tasks.archive_old", _DAY, "default"),
        Schedule(gettext_noop("Delete what is kept long enough"), "titanic_site.tasks.delete_old", _DAY, "default"),
        Schedule(gettext_noop("Repair feature store"), "features.tasks.repair", _MINUTE, "default"),
        Schedule(gettext_noop("Expire old features"), "titanic_site.tasks.expire_features", _HOUR, "default"),
        Schedule(
            gettext_noop("Delete expired sessions"), "titanic_site.tasks.delete_expired_sessions", _DAY, "default"
        ),
        Schedule(gettext_noop("Recover stale jobs"), "titanic_site.tasks.recover_stale_jobs", 15, "fast"),
        *heartbeats,
    ]


def labels() -> dict[str, str]:
    """Return the default schedules' names in the language of the request, by the name that is stored."""
    return {schedule.name: gettext(schedule.title) % schedule.arguments for schedule in defaults()}


def create_missing() -> int:
    """Create the default schedules that are missing and return how many those were."""
    existing = set(PeriodicTask.objects.values_list("name", flat=True))
    missing = [schedule for schedule in defaults() if schedule.name not in existing]
    for schedule in missing:
        interval, _ = IntervalSchedule.objects.get_or_create(every=schedule.seconds, period=IntervalSchedule.SECONDS)
        PeriodicTask.objects.create(
            name=schedule.name,
            task=schedule.task,
            interval=interval,
            queue=schedule.queue,
            kwargs=json.dumps(schedule.arguments),
            # After an interval the next message is there.
            expire_seconds=schedule.seconds,
        )
    return len(missing)
