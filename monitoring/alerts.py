"""Alerts: reasons to call a person, looked for every few seconds. A new kind is one more function in `WATCHES`."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
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

#: A part that does not answer for so long (seconds) calls a person: at a start, workers take a moment.
ALERT_DELAY = 30.0
_FORGET = 60
# The self-test runs each minute, yet it waits while long runs fill its worker, for an hour at most.
_STALE = timedelta(minutes=65)
#: A self-test that has not run calls a person after so long (seconds): after a start the first one takes a moment.
CONSISTENCY_ALERT_DELAY = 120.0


class Reason(NamedTuple):
    """With what something is the matter, and what, in a sentence."""

    subject: str
    text: str


def evaluate_alerts() -> None:
    """Raise an alert for each new reason, keep up those that hold, and resolve those whose reason is gone."""
    found, unseen = _look()
    now = timezone.now()
    for alert in Alert.objects.open().exclude(kind__in=unseen):
        text = found.pop((alert.kind, alert.subject), None)
        if text is None:
            _resolve(alert, now=now)
        else:
            Alert.objects.filter(pk=alert.pk).update(text=text, last_seen_at=now)
    _raise(found, now=now)


def _look() -> tuple[dict[tuple[str, str], str], list[str]]:
    """What is the matter, by kind and subject, and the kinds that could not be looked for."""
    found: dict[tuple[str, str], str] = {}
    unseen: list[str] = []
    for kind, look in RULES.items():
        try:
            found |= {(kind, subject): text for subject, text in look()}
        except RedisUnavailable as error:
            # Nobody knows whether these are over: they stay as they are, and hold up no other kind.
            logger.warning("cannot look for alerts of kind %s: %s", kind, error)
            unseen.append(kind)
    return found, unseen


def _raise(found: Mapping[tuple[str, str], str], *, now: datetime) -> None:
    for (_kind, subject), text in found.items():
        logger.warning("alert: %s: %s", subject, text)
    alerts = [
        Alert(kind=kind, subject=subject, text=text, raised_at=now, last_seen_at=now, tell_at=_tell_at(now))
        for (kind, subject), text in found.items()
    ]
    # Of two who look at once, the second one's is refused by the constraint.
    Alert.objects.bulk_create(alerts, ignore_conflicts=True)


def _resolve(alert: Alert, *, now: datetime) -> None:
    logger.info("resolved: %s", alert)
    Alert.objects.filter(pk=alert.pk, resolved_at=None).update(resolved_at=now, tell_at=_tell_at(now), tries=0)


def _tell_at(now: datetime) -> datetime | None:
    return now if settings.ALERT_WEBHOOK_URL else None


def _rejected_artifacts() -> Iterator[Reason]:
    """Model files that should serve and must not."""
    wanted = set(
        ModelVersion.objects.filter(stage__in=(Stage.CHAMPION, Stage.CHALLENGER)).values_list("version", flat=True)
    )
    for refused in load_failures.recent():
        if refused.version in wanted:
            subject = _("Model %(version)s") % {"version": refused.version}
            yield Reason(subject, _("Its file must not serve: %(reason)s.") % {"reason": refused.reason})


def _unready() -> Iterator[Reason]:
    """Parts that do not answer: a queue without a worker, a prediction log that is stuck, a service that is away."""
    for name, check in health.CHECKS.items():
        answer = check()
        if _seconds_of_trouble(name, is_well=answer == "ok") >= ALERT_DELAY:
            yield Reason(name, answer)


def _seconds_of_trouble(name: str, *, is_well: bool) -> float:
    """For how long a part has not answered, by all who looked; below zero where it does. Raises RedisAway."""
    key = f"alerts:since:{name}"
    if is_well:
        redis.client().delete(key)
        return -1.0
    now = time.time()
    with redis.client().pipeline() as pipeline:
        pipeline.set(key, repr(now), nx=True)
        # What was noted before everything stood still is not counted.
        pipeline.expire(key, _FORGET)
        pipeline.get(key)
        return now - float(pipeline.execute()[-1])


def _inconsistent() -> Iterator[Reason]:
    """Doors that answer otherwise than the model does."""
    found = consistency.last()
    if found is None:
        return
    is_fresh = timezone.now() - found.at <= _STALE
    if _seconds_of_trouble("self-test", is_well=is_fresh) >= CONSISTENCY_ALERT_DELAY:
        yield Reason(_("Self-test"), _("It has not run for an hour: see whether a worker answers, and the schedule."))
    if found.error:
        yield Reason(_("Self-test"), found.error)
    for door, agrees, refusal in found.rows:
        if not agrees:
            yield Reason(door, refusal or _("This door answers otherwise than the model itself: see the self-test."))


def _dead_letters() -> Iterator[Reason]:
    """Entries of the prediction log that PostgreSQL refuses."""
    count = DeadLetter.objects.count()
    if count:
        text = _("Entries that cannot be stored: %(count)s. The admin says why, tries them again, or deletes them.")
        yield Reason(_("Prediction log"), text % {"count": count})


#: What an alert can be about, and who looks for it.
RULES: dict[str, Callable[[], Iterator[Reason]]] = {
    "artifact": _rejected_artifacts,
    "unready": _unready,
    "parity": _inconsistent,
    "dead letter": _dead_letters,
}
