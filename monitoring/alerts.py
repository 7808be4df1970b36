"""Alerts: what a person should look at, evaluated every few seconds."""

import json
import logging
import time
from collections.abc import Iterable
from datetime import timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from core import audit, redis
from core.advisory_locks import AdvisoryLock, lock
from core.errors import Conflict
from core.models import Action
from core.redis import RedisUnavailable
from monitoring import deliveries
from monitoring.alert_reasons import RULES, Reason
from monitoring.models import Alert, AlertRule, AlertState

logger = logging.getLogger(__name__)

# Without an evaluation for this many seconds, reasons start over.
_HELD_TTL = 60
_HELD = "alerts:held"
#: For how long a rule is silenced from an alert's page: an hour, a day, a week; 0 ends it.
SILENCE_HOURS = (0, 1, 24, 168)

#: Kind and subject in words.
Key = tuple[str, str]


def evaluate_alerts() -> None:
    """Raise an alert for each new reason, refresh those that hold, and resolve those whose reason is gone."""
    rules: dict[str, AlertRule] = AlertRule.objects.in_bulk(field_name="kind")
    reasons: dict[Key, Reason] = {}
    unknown: list[str] = []
    for kind, find in RULES.items():
        if kind not in rules or not rules[kind].is_enabled:
            continue
        try:
            reasons |= {(kind, str(reason.subject)): reason for reason in find(rules[kind])}
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
            # By its words: an earlier version stored them, not the message.
            reason = reasons.pop((alert.kind, str(alert.subject)), None)
            if reason is None:
                over.append(alert.pk)
            else:
                alert.message, alert.last_seen_at = reason.message, now
                alert.save(update_fields=["message", "last_seen_at"])
        for (kind, subject), reason in reasons.items():
            rule = rules[kind]
            is_due = held[kind, subject] >= max(rule.delay_seconds, reason.delay_seconds)
            since = now - timedelta(minutes=rule.cooldown_minutes)
            earlier = Alert.objects.filter(kind=kind, subject=reason.subject, resolved_at__gt=since)
            if is_due and not earlier.exists():
                _raise(rule, reason)
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


def _raise(rule: AlertRule, reason: Reason) -> None:
    Alert.objects.create(kind=rule.kind, severity=rule.severity, subject=reason.subject, message=reason.message)
    logger.warning("alert: %s: %s", reason.subject, reason.message)


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
