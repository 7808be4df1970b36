"""Alerts: what a person should look at, evaluated every few seconds. A new kind is one more function in `RULES`."""

import logging
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import NamedTuple

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from core import redis
from core.redis import RedisUnavailable
from monitoring import consistency, health
from monitoring.models import Alert
from predictions import load_failures
from predictions.models import DeadLetter
from training.models import ModelVersion, Stage

logger = logging.getLogger(__name__)

#: Seconds for which a part may be unavailable before it raises an alert: after a start, workers take a moment.
ALERT_DELAY = 30.0
#: The same for a consistency check that does not run.
CONSISTENCY_ALERT_DELAY = 120.0
# It is due each minute, yet it waits while long runs fill its worker, for an hour at most.
_CONSISTENCY_MAX_AGE = timedelta(minutes=65)
# A part that was last seen unavailable this many seconds ago starts over: there was no evaluation in between.
_TROUBLE_TTL = 60


class Reason(NamedTuple):
    """What has a problem, and a sentence that says which."""

    subject: str
    text: str


def evaluate_alerts() -> None:
    """Raise an alert for each new reason, refresh those that hold, and resolve those whose reason is gone."""
    reasons: dict[tuple[str, str], str] = {}
    unknown: list[str] = []
    for kind, evaluate in RULES.items():
        try:
            reasons |= {(kind, reason.subject): reason.text for reason in evaluate()}
        except RedisUnavailable as error:
            # Whether these hold cannot be known: they stay as they are, and hold up no other kind.
            logger.warning("cannot evaluate alerts of kind %s: %s", kind, error)
            unknown.append(kind)
    now = timezone.now()
    notify_at = now if settings.ALERT_WEBHOOK_URL else None
    for alert in Alert.objects.open().exclude(kind__in=unknown):
        text = reasons.pop((alert.kind, alert.subject), None)
        if text is not None:
            Alert.objects.filter(pk=alert.pk).update(text=text, last_seen_at=now)
        else:
            logger.info("resolved: %s", alert)
            Alert.objects.filter(pk=alert.pk, resolved_at=None).update(resolved_at=now, notify_at=notify_at, tries=0)
    for (_kind, subject), text in reasons.items():
        logger.warning("alert: %s: %s", subject, text)
    alerts = [
        Alert(kind=kind, subject=subject, text=text, raised_at=now, last_seen_at=now, notify_at=notify_at)
        for (kind, subject), text in reasons.items()
    ]
    # Of two evaluations at once, the constraint ignores the second one's.
    Alert.objects.bulk_create(alerts, ignore_conflicts=True)


def _rejected_artifacts() -> Iterator[Reason]:
    """Find champions and challengers whose file failed to load."""
    in_use = ModelVersion.objects.filter(stage__in=(Stage.CHAMPION, Stage.CHALLENGER))
    versions = set(in_use.values_list("version", flat=True))
    for failure in load_failures.recent():
        if failure.version in versions:
            subject = _("Model %(version)s") % {"version": failure.version}
            yield Reason(subject, _("Its file must not serve: %(reason)s.") % {"reason": failure.reason})


def _unready() -> Iterator[Reason]:
    """Find parts that are unavailable: a queue without a worker, a stuck prediction log, a service."""
    for name, answer in health.report()["checks"].items():
        if _seconds_of_trouble(name, is_well=answer == health.OK) >= ALERT_DELAY:
            yield Reason(name, answer)


def _inconsistent() -> Iterator[Reason]:
    """Find channels whose answers are not the model's own."""
    check = consistency.last()
    if check is None:
        return
    subject = _("Consistency check")
    is_fresh = timezone.now() - check.at <= _CONSISTENCY_MAX_AGE
    if _seconds_of_trouble("consistency", is_well=is_fresh) >= CONSISTENCY_ALERT_DELAY:
        yield Reason(subject, _("It has not run for an hour: check that a worker is available, and the schedule."))
    if check.error:
        yield Reason(subject, check.error)
    for result in check.results:
        if not result.is_consistent:
            text = result.error or _("This channel's answers differ from the model's own: see the consistency check.")
            yield Reason(result.label, text)


def _dead_letters() -> Iterator[Reason]:
    """Find entries of the prediction log that PostgreSQL rejects."""
    count = DeadLetter.objects.count()
    if count:
        text = _("Entries that cannot be stored: %(count)s. See why in the admin, and retry or delete them there.")
        yield Reason(_("Prediction log"), text % {"count": count})


def _seconds_of_trouble(name: str, *, is_well: bool) -> float:
    """Return for how long a part has had a problem, in all processes; negative where it has none."""
    key = f"alerts:since:{name}"
    if is_well:
        redis.client().delete(key)
        return -1.0
    now = time.time()
    with redis.client().pipeline() as pipeline:
        pipeline.set(key, repr(now), nx=True)
        pipeline.expire(key, _TROUBLE_TTL)
        pipeline.get(key)
        return now - float(pipeline.execute()[-1])


#: Each kind of alert, and what finds the reasons for it.
RULES: dict[str, Callable[[], Iterator[Reason]]] = {
    "artifact": _rejected_artifacts,
    "unready": _unready,
    "parity": _inconsistent,
    "dead letter": _dead_letters,
}
