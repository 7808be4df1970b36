"""The default schedules, made when missing and never overwritten, and what a person does with a schedule."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from celery import current_app
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy, gettext_noop
from django.utils.translation import gettext as _
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask
from kombu.exceptions import OperationalError as BrokerUnavailable

from core import audit, redis
from core.errors import Conflict, Unavailable
from core.models import Action
from core.roles import Scopes
from ingestion import sources
from ingestion.models import Source
from titanic_site import timetables

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
HEARTBEAT = "titanic_site.tasks.heartbeat"
#: A rarer heartbeat would let a queue seem without a worker (`core.heartbeat`).
RAREST_HEARTBEAT = timedelta(minutes=1)
TOO_RARE = gettext_lazy("A heartbeat is needed at least every 60 seconds.")
LONGEST_INTERVAL = timedelta(days=366)


@dataclass(frozen=True)
class Schedule:
    """A task, the seconds from one run to the next, its queue, and its arguments, which the title may name.

    An internal one keeps the product itself running, and is nothing that a person plans.
    """

    title: str
    about: str
    task: str
    seconds: int
    queue: str
    is_internal: bool = True
    arguments: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.title % self.arguments


def defaults() -> list[Schedule]:
    """Return the default schedules."""
    title = gettext_noop("Queue heartbeat: %(queue)s")
    about = gettext_noop("Shows that a worker takes messages of the queue.")
    heartbeats = [Schedule(title, about, HEARTBEAT, 20, queue, arguments={"queue": queue}) for queue in settings.QUEUES]
    return [
        Schedule(
            gettext_noop("Retrain"),
            gettext_noop("Loads what is new at the sources and trains a model, which the gate judges."),
            "titanic_site.tasks.retrain", 7 * _DAY, "training", is_internal=False,
        ),
        Schedule(
            gettext_noop("Retrain by alert rules"),
            gettext_noop("Retrains where the rule of an open alert says so."),
            "titanic_site.tasks.retrain_by_rule", _MINUTE, "training",
        ),
        Schedule(
            gettext_noop("Write prediction log to PostgreSQL"),
            gettext_noop("Moves predictions from Redis to PostgreSQL. Switched off, the log grows in Redis."),
            "predictions.tasks.drain", 1, "fast",
        ),
        Schedule(
            gettext_noop("Maintain prediction log partitions"),
            gettext_noop("Makes the coming months' partitions and drops those that are no longer kept."),
            "predictions.tasks.maintain_log", _DAY, "default",
        ),
        Schedule(
            gettext_noop("Shadow scoring"),
            gettext_noop("Lets challengers score the newest predictions."),
            "predictions.tasks.shadow_scoring", 15, "scoring",
        ),
        Schedule(
            gettext_noop("Evaluate alerts"),
            gettext_noop("Raises and resolves alerts by their rules and notifies people."),
            "monitoring.tasks.evaluate_alerts", 10, "fast",
        ),
        Schedule(
            gettext_noop("Consistency check across channels"),
            gettext_noop("Scores the same passengers through all channels and compares the answers."),
            "monitoring.tasks.check_consistency", _MINUTE, "default",
        ),
        Schedule(
            gettext_noop("Measure for Prometheus"),
            gettext_noop("Computes the figures of /metrics that take queries."),
            "monitoring.tasks.measure_figures", 10, "fast",
        ),
        Schedule(
            gettext_noop("Watch drift"),
            gettext_noop("Compares the newest predictions with the training rows."),
            "monitoring.tasks.watch_drift", 1, "fast",
        ),
        Schedule(
            gettext_noop("Check drift"),
            gettext_noop("Tests each feature of the latest window of predictions for drift."),
            "monitoring.tasks.scheduled_check", _HOUR, "default", is_internal=False,
        ),
        Schedule(
            gettext_noop("Check performance"),
            gettext_noop("Computes the champion's metrics on the outcomes that are known."),
            "monitoring.tasks.scheduled_performance_check", _HOUR, "default", is_internal=False,
        ),
        Schedule(
            gettext_noop("Check drift of all features together"),
            gettext_noop("Tests whether a classifier tells live rows and training rows apart."),
            "monitoring.tasks.scheduled_multivariate_check", _DAY, "default", is_internal=False,
        ),
        Schedule(
            gettext_noop("Compare scored files"),
            gettext_noop("Makes the drift report of each file that was scored."),
            "monitoring.tasks.report_on_files", 15, "default",
        ),
        Schedule(
            gettext_noop("Archive old datasets"),
            gettext_noop("Deletes the rows of datasets that their source no longer keeps."),
            "ingestion.tasks.archive_old", _DAY, "default", is_internal=False,
        ),
        Schedule(
            gettext_noop("Delete what is kept long enough"),
            gettext_noop("Deletes what is older than the settings say: see storage."),
            "titanic_site.tasks.delete_old", _DAY, "default", is_internal=False,
        ),
        Schedule(
            gettext_noop("Repair feature store"),
            gettext_noop("Writes features again that Redis has lost."),
            "features.tasks.repair", _MINUTE, "default",
        ),
        Schedule(
            gettext_noop("Expire old features"),
            gettext_noop("Removes features from Redis that no model in use needs."),
            "titanic_site.tasks.expire_features", _HOUR, "default",
        ),
        Schedule(
            gettext_noop("Delete expired sessions"),
            gettext_noop("Deletes sign-ins that have expired."),
            "titanic_site.tasks.delete_expired_sessions", _DAY, "default",
        ),
        Schedule(
            gettext_noop("Recover stale jobs"),
            gettext_noop("Fails or resumes jobs whose worker died, and sends again those that none took."),
            "titanic_site.tasks.recover_stale_jobs", 15, "fast",
        ),
        *heartbeats,
    ]  # fmt: skip


@dataclass(frozen=True)
class Label:
    """What a schedule is called and what it does, in the language of the request."""

    name: str
    about: str = ""
    is_internal: bool = False
    source: Source | None = None


def labels(schedules: Iterable[PeriodicTask]) -> dict[int, Label]:
    """Return the label of each schedule, by its key; the name that is stored is in one language."""
    schedules = list(schedules)
    known = {schedule.name: schedule for schedule in defaults()}
    by_schedule = {source.schedule_id: source for source in Source.objects.filter(schedule__in=schedules)}
    found = {}
    for schedule in schedules:
        default, source = known.get(schedule.name), by_schedule.get(schedule.pk)
        if default:
            name = gettext(default.title) % default.arguments
            found[schedule.pk] = Label(name, gettext(default.about), default.is_internal)
        elif source:
            name = _("Fetch new data: %(source)s") % {"source": source}
            found[schedule.pk] = Label(
                name, _("Loads the newest version of the source's table and trains on it."), source=source
            )
        else:
            found[schedule.pk] = Label(schedule.name, schedule.description)
    return found


def may_change(schedules: Iterable[PeriodicTask], *, scopes: Scopes) -> bool:
    """Tell whether a person with these scopes may change the schedules: that of a source as far as the source."""
    return all(sources.may_change(source, scopes=scopes) for source in Source.objects.filter(schedule__in=schedules))


@transaction.atomic
def switch(schedule: PeriodicTask, *, is_enabled: bool) -> None:
    """Switch a schedule on or off."""
    audit.record(Action.CHANGED, schedule, before={"enabled": schedule.enabled}, after={"enabled": is_enabled})
    schedule.enabled = is_enabled
    schedule.save()


@transaction.atomic
def run_every(schedule: PeriodicTask, every: timedelta) -> None:
    """Run a schedule at an interval of whole seconds from now on."""
    seconds = int(every.total_seconds())
    fields = {"every": seconds, "period": IntervalSchedule.SECONDS}
    # The admin may have made the same one twice.
    interval = IntervalSchedule.objects.filter(**fields).first() or IntervalSchedule.objects.create(**fields)
    # After an interval the next message is there.
    _change(schedule, interval=interval, crontab=None, expire_seconds=seconds)


def run_weekly(schedule: PeriodicTask, *, days: Iterable[str], hour: int, minute: int) -> None:
    """Run a schedule on days of the week (as a crontab numbers them), at a time in the current time zone."""
    zone = timezone.get_current_timezone_name()
    crontab = CrontabSchedule(minute=str(minute), hour=str(hour), day_of_week=",".join(days), timezone=zone)
    run_by_crontab(schedule, crontab)


@transaction.atomic
def run_by_crontab(schedule: PeriodicTask, crontab: CrontabSchedule) -> None:
    """Run a schedule at the times of a crontab, which is kept where there is none like it."""
    fields = {name: getattr(crontab, name) for name in (*timetables.CRONTAB_FIELDS, "timezone")}
    kept = CrontabSchedule.objects.filter(**fields).first() or CrontabSchedule.objects.create(**fields)
    first, second = timetables.crontab_moments(kept, after=timezone.now(), count=2)
    expire_seconds = min(_DAY, int((second - first).total_seconds()))
    _change(schedule, interval=None, crontab=kept, expire_seconds=expire_seconds)


def is_too_rare(schedule: PeriodicTask, seconds: int | None) -> bool:
    """Tell whether a heartbeat would come too rarely at an interval, or by a crontab, which has none."""
    return schedule.task == HEARTBEAT and (seconds is None or timedelta(seconds=seconds) > RAREST_HEARTBEAT)


def run_now(schedule: PeriodicTask) -> None:
    """Send a schedule's task as the scheduler would; raises Conflict, Unavailable."""
    current_app.loader.import_default_modules()
    try:
        arguments, keywords = json.loads(schedule.args or "[]"), json.loads(schedule.kwargs or "{}")
    except ValueError:
        arguments = keywords = None
    if schedule.task not in current_app.tasks or not (isinstance(arguments, list) and isinstance(keywords, dict)):
        raise Conflict(_("No worker knows this task with these arguments: they are corrected in the admin."))
    with transaction.atomic():
        audit.record(Action.RUN, schedule)
        try:
            redis.client().ping()
            current_app.send_task(
                schedule.task,
                args=arguments,
                kwargs=keywords,
                queue=schedule.queue,
                headers={"periodic_task_name": schedule.name},
                retry=False,
            )
        except (BrokerUnavailable, *redis.RedisUnavailable) as error:
            raise Unavailable from error


def _change(schedule: PeriodicTask, **fields: object) -> None:
    before = schedule.schedule if schedule.scheduler else ""
    for name, value in {**fields, "solar": None, "clocked": None, "expires": None, "one_off": False}.items():
        setattr(schedule, name, value)
    schedule.save()
    audit.record(Action.CHANGED, schedule, before={"schedule": before}, after={"schedule": schedule.schedule})


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
