"""Telling the operator's own system of alerts: each is posted when it is raised and when it is resolved."""

import json
import logging
from datetime import timedelta

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import F
from django.utils import timezone

from monitoring.models import Alert

logger = logging.getLogger(__name__)

#: Seconds to connect, and until the answer begins.
TIMEOUT = (3.0, 5.0)
#: After how long (seconds) one that could not be told is told again; after the last of these no more.
PAUSES = (10.0, 30.0, 120.0, 600.0)
# Longer than a post takes: a sender that died leaves the alert to another.
_CLAIM = timedelta(seconds=60)


def notify() -> int:
    """Post every alert that the webhook does not know as it stands, and return how many it took."""
    return sum(_tell(alert) for alert in Alert.objects.unnotified().order_by("pk"))


def _tell(alert: Alert) -> bool:
    claim = timezone.now() + _CLAIM
    # Two senders may see the same alert: the update lets only one through.
    if not Alert.objects.filter(pk=alert.pk, tell_at=alert.tell_at).update(tell_at=claim, tries=F("tries") + 1):
        return False
    alert.refresh_from_db()
    trouble = _post(alert)
    # One that was resolved while it was being told has another time: that is to be told too.
    claimed = Alert.objects.filter(pk=alert.pk, tell_at=claim)
    if not trouble:
        claimed.update(tell_at=None, tries=0)
        return True
    is_last = alert.tries > len(PAUSES)
    logger.error("the webhook was not told of %s (try %s%s): %s", alert, alert.tries, ", the last" * is_last, trouble)
    pause = None if is_last else timezone.now() + timedelta(seconds=PAUSES[alert.tries - 1])
    claimed.update(tell_at=pause)
    return False


def _post(alert: Alert) -> str:
    """Post one alert; returns what went wrong. The address may hold a secret: it is in no text."""
    import requests

    names = ("kind", "subject", "text", "raised_at", "resolved_at")
    body = json.dumps({name: getattr(alert, name) for name in names}, cls=DjangoJSONEncoder)
    headers = {"Content-Type": "application/json", "User-Agent": "titanic-mlops"}
    try:
        # A redirect would lose the body; what the answer says is nobody's concern, however long it is.
        with requests.post(
            settings.ALERT_WEBHOOK_URL, body, headers=headers, timeout=TIMEOUT, allow_redirects=False, stream=True
        ) as response:
            return "" if response.ok and not response.is_redirect else f"it answers {response.status_code}"
    except requests.RequestException as error:
        return type(error).__name__
