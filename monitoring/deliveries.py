"""Notify people of alerts by mail and webhook: one message for what is raised or resolved together.

A message that a channel does not accept is tried again later; each try is a row.
"""

import hmac
import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from hashlib import sha256

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, override

from core import moments
from monitoring.models import Alert, AlertRule, Delivery, DeliveryChannel

logger = logging.getLogger(__name__)

#: Seconds to connect, and until the answer begins.
TIMEOUT = (3.0, 5.0)
#: Seconds after which a failed try is followed by another; after the last of these by none.
RETRY_DELAYS = (10.0, 30.0, 120.0, 600.0)
# Longer than a try takes: a sender that died leaves the message to another.
_CLAIM = timedelta(seconds=60)
_LONGEST_MAIL_SUBJECT = 150


def plan(alerts: Iterable[Alert], *, is_resolved: bool) -> None:
    """Make one message of the alerts for each channel that is set up."""
    alerts = list(alerts)
    channels = {DeliveryChannel.EMAIL: settings.ALERT_EMAILS, DeliveryChannel.WEBHOOK: settings.ALERT_WEBHOOK_URL}
    for channel, address in channels.items():
        if alerts and address:
            Delivery.objects.create(channel=channel, is_resolved=is_resolved).alerts.set(alerts)


def deliver() -> int:
    """Try every message that is due; return how many were accepted."""
    accepted = 0
    for delivery in Delivery.objects.due().order_by("pk"):
        # Two senders may see the same message: the update lets only one through.
        unclaimed = Delivery.objects.due().filter(pk=delivery.pk, due_at=delivery.due_at)
        if not unclaimed.update(due_at=timezone.now() + _CLAIM):
            continue
        alerts = list(delivery.alerts.order_by("pk"))
        with override(settings.ALERT_LANGUAGE), timezone.override(settings.ALERT_TIME_ZONE):
            delivery.error = SENDERS[delivery.channel](alerts, delivery.is_resolved)
        delivery.tried_at = timezone.now()
        delivery.save(update_fields=["error", "tried_at"])
        if not delivery.error:
            accepted += 1
            continue
        is_last = delivery.number > len(RETRY_DELAYS)
        names, last = ", ".join(map(str, alerts)), ", the last" if is_last else ""
        message = "%s did not accept %s (try %s%s): %s"
        logger.error(message, delivery.channel, names, delivery.number, last, delivery.error)
        if not is_last:
            due_at = delivery.tried_at + timedelta(seconds=RETRY_DELAYS[delivery.number - 1])
            Delivery.objects.create(
                channel=delivery.channel, is_resolved=delivery.is_resolved, number=delivery.number + 1, due_at=due_at
            ).alerts.set(alerts)
    return accepted


def _mail(alerts: Sequence[Alert], is_resolved: bool) -> str:  # noqa: FBT001
    """Send a mail; return the kind of error, or nothing."""
    message = EmailMessage(_mail_subject(alerts, is_resolved=is_resolved), _mail_text(alerts), to=settings.ALERT_EMAILS)
    try:
        message.send()
    except OSError as error:
        # What smtplib raises is one too. Its text may have an address or a password.
        return type(error).__name__
    return ""


def _mail_subject(alerts: Sequence[Alert], *, is_resolved: bool) -> str:
    state = _("Resolved") if is_resolved else ngettext("%(n)s alert", "%(n)s alerts", len(alerts)) % {"n": len(alerts)}
    subject = f"Titanic MLOps: {state}: {', '.join(str(alert.subject) for alert in alerts)}"
    # A header has one line.
    return " ".join(subject.split())[:_LONGEST_MAIL_SUBJECT]


def _mail_text(alerts: Sequence[Alert]) -> str:
    """Say of each alert what, since when, what to do, and where to look."""
    rules: dict[str, AlertRule] = AlertRule.objects.in_bulk(field_name="kind")
    parts = []
    for alert in alerts:
        lines = [
            f"{alert.subject} ({alert.kind_label}, {alert.get_severity_display()})",
            str(alert.message),
            _("Since %(moment)s.") % {"moment": moments.shown(alert.raised_at, "seconds zone")},
        ]
        if alert.resolved_at:
            lines.append(_("Resolved at %(moment)s.") % {"moment": moments.shown(alert.resolved_at, "seconds zone")})
        elif alert.kind in rules:
            lines.append(_("What to do: %(advice)s") % {"advice": rules[alert.kind].advice})
        parts.append("\n".join([*lines, _url(alert)]))
    return "\n\n".join(parts) + "\n"


def _post(alerts: Sequence[Alert], is_resolved: bool) -> str:  # noqa: FBT001
    """Post to the webhook; return what is wrong with the answer, or nothing."""
    import requests

    names = ("id", "kind", "severity", "raised_at", "resolved_at")
    rows = [
        {
            **{name: getattr(alert, name) for name in names},
            "subject": str(alert.subject),
            "text": str(alert.message),
            "url": _url(alert),
        }
        for alert in alerts
    ]
    event = "resolved" if is_resolved else "raised"
    body = json.dumps({"event": event, "alerts": rows}, cls=DjangoJSONEncoder).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "titanic-mlops", **signature(body)}
    try:
        # A redirect would lose the body; the answer is not read, however long it is.
        with requests.post(
            settings.ALERT_WEBHOOK_URL, body, headers=headers, timeout=TIMEOUT, allow_redirects=False, stream=True
        ) as response:
            return "" if response.ok and not response.is_redirect else f"status {response.status_code}"
    except requests.RequestException as error:
        # Its text may have the address, which may hold a secret.
        return type(error).__name__


def signature(body: bytes) -> dict[str, str]:
    """Return the headers by which a receiver knows who sent the body, and when; none without a secret."""
    if not settings.ALERT_WEBHOOK_SECRET:
        return {}
    timestamp = str(int(time.time()))
    digest = hmac.new(settings.ALERT_WEBHOOK_SECRET.encode(), f"{timestamp}.".encode() + body, sha256).hexdigest()
    return {"X-Titanic-Timestamp": timestamp, "X-Titanic-Signature": f"sha256={digest}"}


def _url(alert: Alert) -> str:
    return f"{settings.SITE_URL}{alert.get_absolute_url()}"


#: What sends a message by a channel, and returns why that failed.
SENDERS: dict[str, Callable[[Sequence[Alert], bool], str]] = {
    DeliveryChannel.EMAIL: _mail,
    DeliveryChannel.WEBHOOK: _post,
}
