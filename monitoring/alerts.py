"""Alerts: reasons to call a person, looked for every few seconds. A new kind is one more function in `WATCHES`."""

import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

from django.utils import timezone
from django.utils.translation import gettext as _

from monitoring import health
from monitoring.models import Alert
from predictions import refusals
from training.models import ModelVersion, Stage

logger = logging.getLogger(__name__)


class Reason(NamedTuple):
    """What is the matter, with what, in a sentence."""

    kind: str
    subject: str
    text: str


def watch() -> None:
    """Raise an alert for each new reason, and resolve those whose reason is gone."""
    found = {(reason.kind, reason.subject): reason for look in WATCHES for reason in look()}
    for alert in Alert.objects.open():
        if found.pop((alert.kind, alert.subject), None) is None:
            Alert.objects.filter(pk=alert.pk, resolved_at=None).update(resolved_at=timezone.now())
            logger.info("resolved: %s", alert)
    for reason in found.values():
        logger.warning("alert: %s: %s", reason.subject, reason.text)
    # Of two who look at once, the second one's is refused by the constraint.
    Alert.objects.bulk_create([Alert(**reason._asdict()) for reason in found.values()], ignore_conflicts=True)


def _refused() -> Iterator[Reason]:
    """Model files that should serve and must not."""
    wanted = set(
        ModelVersion.objects.filter(stage__in=(Stage.CHAMPION, Stage.CHALLENGER)).values_list("version", flat=True)
    )
    for refused in refusals.every():
        if refused.version in wanted:
            subject = _("Model %(version)s") % {"version": refused.version}
            yield Reason("artifact", subject, _("Its file must not serve: %(reason)s.") % {"reason": refused.reason})


def _unready() -> Iterator[Reason]:
    """Parts that do not answer."""
    for name, check in health.CHECKS.items():
        answer = check()
        if answer != "ok":
            yield Reason("unready", name, answer)


WATCHES: tuple[Callable[[], Iterator[Reason]], ...] = (_refused, _unready)
