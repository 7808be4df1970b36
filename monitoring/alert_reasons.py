"""The reasons for alerts, by kind. A new kind is one more function in `RULES`."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import NamedTuple

from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import override
from django_celery_beat.models import PeriodicTask

from core.errors import Unavailable
from core.jobs import Job, JobQuerySet, State, kinds
from core.messages import Message, as_message
from core.messages import Message as _
from core.schedules import schedule_title
from features import category_labels
from ingestion.models import Dataset
from monitoring import consistency, error_rate, health, performance
from monitoring.alert_kinds import Kind
from monitoring.models import AlertRule
from predictions import drift_state, load_failures, log, scorer
from predictions.models import DeadLetter
from training.models import ModelVersion, Stage, TrainingRun

# It is due each minute, yet it waits while long runs fill its worker, for an hour at most.
_CONSISTENCY_MAX_AGE = timedelta(minutes=65)
# After a night the first check takes a moment.
_CONSISTENCY_DELAY = 120


class Reason(NamedTuple):
    """What has a problem, and which.

    `delay_seconds` is how long it must hold, where that is more than the rule says.
    """

    subject: Message
    message: Message
    delay_seconds: int = 0


def find_drift(_rule: AlertRule) -> Iterator[Reason]:
    """Find drift that the watch sees."""
    watch = drift_state.read()
    if watch.state == "drift":
        since = f"{watch.since:%Y-%m-%d %H:%M}" if watch.since else "?"
        # Each name is a message of the catalogue.
        with override(None):
            features = [str(category_labels.label(name)) for name in watch.features]
        text = _("Drifted since %(since)s UTC: %(features)s.")
        yield Reason(_("Live inputs"), text % {"since": since, "features": features})


def find_performance(rule: AlertRule) -> Iterator[Reason]:
    """Find that the champion is less accurate than its training leads to expect, by more than chance."""
    check = performance.latest()
    report = check.evaluation if check else None
    overall = report.overall if report else None
    if overall is None or rule.threshold is None or overall.count < rule.threshold or not overall.is_less_accurate:
        return
    measured, expected = overall.figures.accuracy, overall.expected.accuracy
    if measured is not None and expected is not None:
        text = _("Accuracy on %(count)s known outcomes is %(accuracy)s; %(expected)s was expected.")
        figures = {"accuracy": round(measured.value, 3), "expected": round(expected.value, 3)}
        yield Reason(_("Champion"), text % {"count": overall.count, **figures})


def find_new_data(rule: AlertRule) -> Iterator[Reason]:
    """Find labelled tables that were loaded since the last training."""
    last = TrainingRun.objects.select_related("feature_batch").first()
    newer = Dataset.objects.labelled().filter(pk__gt=last.feature_batch.dataset_id if last else 0)
    count = newer.aggregate(rows=Sum("row_count"))["rows"] or 0
    if rule.threshold is not None and count > rule.threshold:
        text = _("Labelled rows that were loaded since the last training: %(count)s.")
        yield Reason(_("Training data"), text % {"count": count})


def find_old_data(rule: AlertRule) -> Iterator[Reason]:
    """Find that no labelled table was loaded for long."""
    newest = Dataset.objects.labelled().first()
    if newest is not None and newest.finished_at is not None and rule.threshold is not None:
        days = (timezone.now() - newest.finished_at) / timedelta(days=1)
        if days > rule.threshold:
            text = _("The newest labelled table was loaded %(days)s days ago.")
            yield Reason(_("Training data"), text % {"days": int(days)})


def find_failed_jobs(_rule: AlertRule) -> Iterator[Reason]:
    """Find kinds of jobs whose last one failed; those that belong to users are theirs to look at."""
    for model in kinds():
        over: JobQuerySet[Job] = JobQuerySet(model).filter(state__in=(State.SUCCEEDED, State.FAILED))
        last = None if model.has_owner else over.first()
        if last is not None and last.state == State.FAILED:
            yield Reason(last.title, _("It failed: %(error)s") % {"error": last.error})


def find_overdue(rule: AlertRule) -> Iterator[Reason]:
    """Find schedules that should have run."""
    tasks = PeriodicTask.objects.filter(enabled=True, one_off=False, start_time=None, expires=None)
    for task in tasks.select_related("interval", "crontab", "solar", "clocked"):
        late = -task.schedule.remaining_estimate(task.last_run_at or task.date_changed) / timedelta(minutes=1)
        if rule.threshold is not None and late > rule.threshold:
            yield Reason(schedule_title(task), _("It is %(minutes)s minutes late.") % {"minutes": int(late)})


def find_failed_requests(rule: AlertRule) -> Iterator[Reason]:
    """Find that too many requests of the last minutes had a server error."""
    share = error_rate.share()
    if share is not None and rule.threshold is not None and share > rule.threshold:
        text = _("Of the last minutes’ requests %(percent)s %% had a server error.")
        yield Reason(_("Web"), text % {"percent": round(100 * share)})


def find_backlog(rule: AlertRule) -> Iterator[Reason]:
    """Find that predictions wait for PostgreSQL too long."""
    waited = log.longest_wait()
    if rule.threshold is not None and waited > rule.threshold:
        text = _("It is stuck: %(count)s predictions wait for PostgreSQL, the oldest for %(seconds)s seconds.")
        yield Reason(_("Prediction log"), text % {"count": log.backlog(), "seconds": int(waited)})


def find_no_champion(_rule: AlertRule) -> Iterator[Reason]:
    """Find that no model answers."""
    try:
        scorer.champion()
    except Unavailable as error:
        yield Reason(_("Champion"), error.message)


def find_rejected_artifacts(_rule: AlertRule) -> Iterator[Reason]:
    """Find champions and challengers whose file failed to load."""
    in_use = ModelVersion.objects.filter(stage__in=(Stage.CHAMPION, Stage.CHALLENGER))
    versions = set(in_use.values_list("version", flat=True))
    for failure in load_failures.recent():
        if failure.version in versions:
            text = _("Its file must not serve: %(reason)s.")
            model = _("Model %(version)s") % {"version": str(failure.version)}
            yield Reason(model, text % {"reason": failure.reason})


def find_unready(_rule: AlertRule) -> Iterator[Reason]:
    """Find parts that are unavailable: a queue without a worker, a service."""
    for name, answer in health.report()["checks"].items():
        # The other two have kinds of their own.
        if answer != health.OK and name not in ("champion", "prediction log"):
            yield Reason(Message(name), as_message(answer))


def find_inconsistent(_rule: AlertRule) -> Iterator[Reason]:
    """Find channels whose answers are not the model's own."""
    check = consistency.last()
    if check is None:
        return
    subject = _("Consistency check")
    if timezone.now() - check.at > _CONSISTENCY_MAX_AGE:
        text = _("It has not run for an hour: check that a worker is available, and the schedule.")
        yield Reason(subject, text, delay_seconds=_CONSISTENCY_DELAY)
    if check.error:
        yield Reason(subject, as_message(check.error))
    for result in check.results:
        if not result.is_consistent:
            different = _("This channel's answers differ from the model's own: see the consistency check.")
            yield Reason(Message(result.label), as_message(result.error or different))


def find_dead_letters(_rule: AlertRule) -> Iterator[Reason]:
    """Find entries of the prediction log that PostgreSQL rejects."""
    count = DeadLetter.objects.count()
    if count:
        text = _(
            "Entries that cannot be stored: %(count)s. Store them again from the overview; the admin deletes them."
        )
        yield Reason(_("Prediction log"), text % {"count": count})


#: Each kind of alert, and what finds the reasons for it.
RULES: dict[str, Callable[[AlertRule], Iterator[Reason]]] = {
    Kind.DRIFT: find_drift,
    Kind.PERFORMANCE: find_performance,
    Kind.NEW_DATA: find_new_data,
    Kind.DATA_AGE: find_old_data,
    Kind.FAILED_JOB: find_failed_jobs,
    Kind.OVERDUE: find_overdue,
    Kind.ERROR_RATE: find_failed_requests,
    Kind.BACKLOG: find_backlog,
    # Before those that load the champion, which forgets its failure when that works.
    Kind.ARTIFACT: find_rejected_artifacts,
    Kind.NO_CHAMPION: find_no_champion,
    Kind.UNREADY: find_unready,
    Kind.PARITY: find_inconsistent,
    Kind.DEAD_LETTER: find_dead_letters,
}
