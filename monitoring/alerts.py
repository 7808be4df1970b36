"""Alerts: what a person should look at, evaluated every few seconds. A new kind is one more function in `RULES`."""

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import NamedTuple

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from django_celery_beat.models import PeriodicTask

from core import audit, redis
from core.advisory_locks import AdvisoryLock, lock
from core.errors import Conflict, Unavailable
from core.jobs import Job, JobQuerySet, State, kinds
from core.models import Action
from core.redis import RedisUnavailable
from ingestion.models import Dataset
from monitoring import consistency, deliveries, error_rate, health, performance
from monitoring.alert_kinds import Kind
from monitoring.models import Alert, AlertRule, AlertState
from predictions import drift_state, load_failures, log, scorer
from predictions.models import DeadLetter
from training.models import ModelVersion, Stage, TrainingRun

logger = logging.getLogger(__name__)

# It is due each minute, yet it waits while long runs fill its worker, for an hour at most.
_CONSISTENCY_MAX_AGE = timedelta(minutes=65)
# After a night the first check takes a moment.
_CONSISTENCY_DELAY = 120
# Without an evaluation for this many seconds, reasons start over.
_HELD_TTL = 60
_HELD = "alerts:held"
_LONGEST_SUBJECT = 100
#: For how long a rule is silenced from an alert's page: an hour, a day, a week; 0 ends it.
SILENCE_HOURS = (0, 1, 24, 168)

#: Kind and subject.
Key = tuple[str, str]


class Reason(NamedTuple):
    """What has a problem, and a message with its parameters that says which.

    `delay_seconds` is how long it must hold, where that is more than the rule says.
    """

    subject: str
    text: str
    parameters: Mapping[str, str | int] = {}
    delay_seconds: int = 0


def evaluate_alerts() -> None:
    """Raise an alert for each new reason, refresh those that hold, and resolve those whose reason is gone."""
    rules: dict[str, AlertRule] = AlertRule.objects.in_bulk(field_name="kind")
    reasons: dict[Key, Reason] = {}
    unknown: list[str] = []
    for kind, find in RULES.items():
        if kind not in rules or not rules[kind].is_enabled:
            continue
        try:
            reasons |= {(kind, reason.subject[:_LONGEST_SUBJECT]): reason for reason in find(rules[kind])}
        except RedisUnavailable as error:
            # Whether these hold cannot be known: they stay as they are, and hold up no other kind.
            logger.warning("cannot evaluate alerts of kind %s: %s", kind, error)
            unknown.append(kind)
    held = _seconds_held(reasons)
    now = timezone.now()
    over = []
    with transaction.atomic():
        # Of two evaluations at once, the second finds what the first has raised.
        lock(AdvisoryLock.ALERTS)
        for alert in Alert.objects.holding().exclude(kind__in=unknown):
            reason = reasons.pop((alert.kind, alert.subject), None)
            if reason is None:
                over.append(alert.pk)
            else:
                alert.text, alert.parameters, alert.last_seen_at = reason.text, dict(reason.parameters), now
                alert.save(update_fields=["text", "parameters", "last_seen_at"])
        for (kind, subject), reason in reasons.items():
            rule = rules[kind]
            is_due = held[kind, subject] >= max(rule.delay_seconds, reason.delay_seconds)
            since = now - timedelta(minutes=rule.cooldown_minutes)
            if is_due and not Alert.objects.filter(kind=kind, subject=subject, resolved_at__gt=since).exists():
                _raise(rule, subject, reason)
        _end(over)
        # Those that were raised while their rule was silenced too, if they are open still.
        silenced = [kind for kind, rule in rules.items() if rule.silence]
        untold = Alert.objects.in_state(AlertState.OPEN).filter(deliveries=None).exclude(kind__in=silenced)
        deliveries.plan(untold.order_by("pk"), is_resolved=False)


def acknowledge(alert: Alert, *, by: User | None, note: str = "") -> None:
    """Record that a person looks after it; raises Conflict unless it is open."""
    is_changed = Alert.objects.in_state(AlertState.OPEN).filter(pk=alert.pk)
    with transaction.atomic():
        if not is_changed.update(acknowledged_at=timezone.now(), acknowledged_by=by, acknowledged_note=note):
            raise Conflict(_("This alert is acknowledged or resolved already."))
        audit.record(Action.ACKNOWLEDGED, alert, after={"note": note})
    alert.refresh_from_db()


def resolve(alert: Alert, *, by: User | None, note: str = "") -> None:
    """End it by a person's word: it is not raised again before its reason is gone; raises Conflict."""
    changes = {"resolved_at": timezone.now(), "resolved_by": by, "resolved_note": note, "is_dismissed": True}
    with transaction.atomic():
        if not Alert.objects.open().filter(pk=alert.pk).update(**changes):
            raise Conflict(_("This alert is resolved already."))
        _tell_resolved([alert.pk])
        audit.record(Action.RESOLVED, alert, after={"note": note})
    alert.refresh_from_db()


def silence(rule: AlertRule, *, hours: int) -> None:
    """Notify nobody of the rule's alerts for so many hours; 0 ends it."""
    until = timezone.now() + timedelta(hours=hours) if hours else None
    with transaction.atomic():
        before = {"silenced_until": rule.silence}
        rule.silenced_until = until
        rule.save(update_fields=["silenced_until"])
        audit.record(Action.CHANGED, rule, before=before, after={"silenced_until": until})


def _raise(rule: AlertRule, subject: str, reason: Reason) -> None:
    alert = Alert.objects.create(
        kind=rule.kind,
        severity=rule.severity,
        subject=subject,
        text=reason.text,
        parameters=dict(reason.parameters),
    )
    logger.warning("alert: %s: %s", subject, alert.message)


def _end(pks: list[int]) -> None:
    """Resolve the alerts whose reasons are gone, and forget that a person had dismissed some of them."""
    Alert.objects.filter(pk__in=pks, is_dismissed=True).update(is_dismissed=False)
    over = list(Alert.objects.open().filter(pk__in=pks))
    for alert in over:
        logger.info("resolved: %s", alert)
    Alert.objects.open().filter(pk__in=pks).update(resolved_at=timezone.now())
    _tell_resolved([alert.pk for alert in over])


def _tell_resolved(pks: list[int]) -> None:
    """Notify of the end of those alerts of which people were notified."""
    deliveries.plan(
        Alert.objects.filter(pk__in=pks, deliveries__isnull=False).distinct().order_by("pk"), is_resolved=True
    )


def _seconds_held(reasons: Iterable[Key]) -> dict[Key, float]:
    """Return for how long each reason has held at every evaluation, in all processes."""
    stored = redis.client().get(_HELD)
    known: dict[str, float] = json.loads(stored) if stored else {}
    now = time.time()
    since = {key: known.get("\n".join(key), now) for key in reasons}
    redis.client().set(_HELD, json.dumps({"\n".join(key): at for key, at in since.items()}), ex=_HELD_TTL)
    return {key: now - at for key, at in since.items()}


def _drift(_rule: AlertRule) -> Iterator[Reason]:
    """Find drift that the watch sees."""
    watch = drift_state.read()
    if watch.state == "drift":
        since = f"{watch.since:%Y-%m-%d %H:%M}" if watch.since else "?"
        text = gettext_noop("Drifted since %(since)s UTC: %(features)s.")
        yield Reason(gettext_noop("Live inputs"), text, {"since": since, "features": ", ".join(watch.features)})


def _performance(rule: AlertRule) -> Iterator[Reason]:
    """Find that the champion is less accurate than its training leads to expect, by more than chance."""
    check = performance.latest()
    report = check.evaluation if check else None
    overall = report.overall if report else None
    if overall is None or rule.threshold is None or overall.count < rule.threshold or not overall.is_less_accurate:
        return
    measured, expected = overall.figures.accuracy, overall.expected.accuracy
    if measured is not None and expected is not None:
        text = gettext_noop("Accuracy on %(count)s known outcomes is %(accuracy)s; %(expected)s was expected.")
        figures = {"accuracy": f"{measured.value:.3f}", "expected": f"{expected.value:.3f}"}
        yield Reason(gettext_noop("Champion"), text, {"count": overall.count, **figures})


def _new_data(rule: AlertRule) -> Iterator[Reason]:
    """Find labelled tables that were loaded since the last training."""
    last = TrainingRun.objects.select_related("feature_batch").first()
    newer = Dataset.objects.labelled().filter(pk__gt=last.feature_batch.dataset_id if last else 0)
    count = newer.aggregate(rows=Sum("row_count"))["rows"] or 0
    if rule.threshold is not None and count > rule.threshold:
        text = gettext_noop("Labelled rows that were loaded since the last training: %(count)s.")
        yield Reason(gettext_noop("Training data"), text, {"count": count})


def _old_data(rule: AlertRule) -> Iterator[Reason]:
    """Find that no labelled table was loaded for long."""
    newest = Dataset.objects.labelled().first()
    if newest is not None and newest.finished_at is not None and rule.threshold is not None:
        days = (timezone.now() - newest.finished_at) / timedelta(days=1)
        if days > rule.threshold:
            text = gettext_noop("The newest labelled table was loaded %(days)s days ago.")
            yield Reason(gettext_noop("Training data"), text, {"days": int(days)})


def _failed_jobs(_rule: AlertRule) -> Iterator[Reason]:
    """Find kinds of jobs whose last one failed; those that belong to users are theirs to look at."""
    for model in kinds():
        over: JobQuerySet[Job] = JobQuerySet(model).filter(state__in=(State.SUCCEEDED, State.FAILED))
        last = None if model.has_owner else over.first()
        if last is not None and last.state == State.FAILED:
            yield Reason(str(last), gettext_noop("It failed: %(error)s"), {"error": last.error})


def _overdue(rule: AlertRule) -> Iterator[Reason]:
    """Find schedules that should have run."""
    tasks = PeriodicTask.objects.filter(enabled=True, one_off=False, start_time=None, expires=None)
    for task in tasks.select_related("interval", "crontab", "solar", "clocked"):
        late = -task.schedule.remaining_estimate(task.last_run_at or task.date_changed) / timedelta(minutes=1)
        if rule.threshold is not None and late > rule.threshold:
            yield Reason(task.name, gettext_noop("It is %(minutes)s minutes late."), {"minutes": int(late)})


def _failed_requests(rule: AlertRule) -> Iterator[Reason]:
    """Find that too many requests of the last minutes had a server error."""
    share = error_rate.share()
    if share is not None and rule.threshold is not None and share > rule.threshold:
        text = gettext_noop("Of the last minutes’ requests %(percent)s %% had a server error.")
        yield Reason(gettext_noop("Web"), text, {"percent": round(100 * share)})


def _backlog(rule: AlertRule) -> Iterator[Reason]:
    """Find that predictions wait for PostgreSQL too long."""
    waited = log.longest_wait()
    if rule.threshold is not None and waited > rule.threshold:
        text = gettext_noop(
            "It is stuck: %(count)s predictions wait for PostgreSQL, the oldest for %(seconds)s seconds."
        )
        yield Reason(gettext_noop("Prediction log"), text, {"count": log.backlog(), "seconds": int(waited)})


def _no_champion(_rule: AlertRule) -> Iterator[Reason]:
    """Find that no model answers."""
    try:
        scorer.champion()
    except Unavailable as error:
        yield Reason(gettext_noop("Champion"), error.message)


def _rejected_artifacts(_rule: AlertRule) -> Iterator[Reason]:
    """Find champions and challengers whose file failed to load."""
    in_use = ModelVersion.objects.filter(stage__in=(Stage.CHAMPION, Stage.CHALLENGER))
    versions = set(in_use.values_list("version", flat=True))
    for failure in load_failures.recent():
        if failure.version in versions:
            text = gettext_noop("Its file must not serve: %(reason)s.")
            yield Reason(f"Model {failure.version}", text, {"reason": failure.reason})


def _unready(_rule: AlertRule) -> Iterator[Reason]:
    """Find parts that are unavailable: a queue without a worker, a service."""
    for name, answer in health.report()["checks"].items():
        # The other two have kinds of their own.
        if answer != health.OK and name not in ("champion", "prediction log"):
            yield Reason(name, answer)


def _inconsistent(_rule: AlertRule) -> Iterator[Reason]:
    """Find channels whose answers are not the model's own."""
    check = consistency.last()
    if check is None:
        return
    subject = gettext_noop("Consistency check")
    if timezone.now() - check.at > _CONSISTENCY_MAX_AGE:
        text = gettext_noop("It has not run for an hour: check that a worker is available, and the schedule.")
        yield Reason(subject, text, delay_seconds=_CONSISTENCY_DELAY)
    if check.error:
        yield Reason(subject, check.error)
    for result in check.results:
        if not result.is_consistent:
            different = gettext_noop("This channel's answers differ from the model's own: see the consistency check.")
            yield Reason(str(result.label), result.error or different)


def _dead_letters(_rule: AlertRule) -> Iterator[Reason]:
    """Find entries of the prediction log that PostgreSQL rejects."""
    count = DeadLetter.objects.count()
    if count:
        text = gettext_noop(
            "Entries that cannot be stored: %(count)s. See why in the admin, and retry or delete them there."
        )
        yield Reason(gettext_noop("Prediction log"), text, {"count": count})


#: Each kind of alert, and what finds the reasons for it.
RULES: dict[str, Callable[[AlertRule], Iterator[Reason]]] = {
    Kind.DRIFT: _drift,
    Kind.PERFORMANCE: _performance,
    Kind.NEW_DATA: _new_data,
    Kind.DATA_AGE: _old_data,
    Kind.FAILED_JOB: _failed_jobs,
    Kind.OVERDUE: _overdue,
    Kind.ERROR_RATE: _failed_requests,
    Kind.BACKLOG: _backlog,
    # Before those that load the champion, which forgets its failure when that works.
    Kind.ARTIFACT: _rejected_artifacts,
    Kind.NO_CHAMPION: _no_champion,
    Kind.UNREADY: _unready,
    Kind.PARITY: _inconsistent,
    Kind.DEAD_LETTER: _dead_letters,
}
