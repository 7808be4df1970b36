"""Notify the operator's own system of alerts: each is posted when it is raised and when it is resolved."""

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
#: Seconds after which a failed post is tried again; after the last of these no more.
RETRY_DELAYS = (10.0, 30.0, 120.0, 600.0)
# Longer than a post takes: a sender that died leaves the alert to another.
_CLAIM = timedelta(seconds=60)


def notify() -> int:
    """Post every alert that has been raised or resolved since its last post; return how many succeeded."""
    import requests

    accepted = 0
    for alert in Alert.objects.unnotified().order_by("pk"):
        claim = timezone.now() + _CLAIM
        # Two senders may see the same alert: the update lets only one through.
        unclaimed = Alert.objects.filter(pk=alert.pk, notify_at=alert.notify_at)
        if not unclaimed.update(notify_at=claim, tries=F("tries") + 1):
            continue
        alert.refresh_from_db()
        names = ("kind", "severity", "subject", "raised_at", "resolved_at")
        values = {"text": alert.message, **{name: getattr(alert, name) for name in names}}
        body = json.dumps(values, cls=DjangoJSONEncoder)
        headers = {"Content-Type": "application/json", "User-Agent": "titanic-mlops"}
        try:
            # A redirect would lose the body; the answer is not read, however long it is.
            with requests.post(
                settings.ALERT_WEBHOOK_URL, body, headers=headers, timeout=TIMEOUT, allow_redirects=False, stream=True
            ) as response:
                failure = "" if response.ok and not response.is_redirect else f"status {response.status_code}"
        except requests.RequestException as error:
            # Its text may have the address, which may hold a secret.
            failure = type(error).__name__
        # One that was resolved meanwhile has another time: that is to be posted too.
        claimed = Alert.objects.filter(pk=alert.pk, notify_at=claim)
        if not failure:
            claimed.update(notify_at=None, tries=0)
            accepted += 1
            continue
        is_last = alert.tries > len(RETRY_DELAYS)
        last = ", the last" if is_last else ""
        logger.error("the webhook did not accept %s (try %s%s): %s", alert, alert.tries, last, failure)
        retry_at = None if is_last else timezone.now() + timedelta(seconds=RETRY_DELAYS[alert.tries - 1])
        claimed.update(notify_at=retry_at)
    return accepted
