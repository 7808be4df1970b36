"""The share of requests that had a server error, from the counters of this machine's web processes."""

import json
import os
import time

from django.conf import settings
from prometheus_client.multiprocess import MultiProcessCollector

from core import redis

#: Seconds that the share is about.
WINDOW = 300
#: Of fewer requests a share says little.
FEWEST_REQUESTS = 20
_RESPONSES = "django_http_responses_total_by_status_view_method"


def share() -> float | None:
    """Return the share since the first call within the window; None after too few requests. Raises RedisError."""
    key = f"monitoring:responses:{os.uname().nodename}"
    total, errors = _responses()
    now = time.time()
    stored = redis.client().get(key)
    counts = [count for count in json.loads(stored) if count[0] > now - WINDOW] if stored else []
    if counts and total < counts[-1][1]:
        # The counters began anew.
        counts = []
    counts.append((now, total, errors))
    redis.client().set(key, json.dumps(counts), ex=WINDOW)
    requests = total - counts[0][1]
    return (errors - counts[0][2]) / requests if requests >= FEWEST_REQUESTS else None


def _responses() -> tuple[float, float]:
    """Count all responses, and those with a server error, since the counters began."""
    total = errors = 0.0
    files = map(str, settings.METRICS_DIR.glob("counter_*.db"))
    for metric in MultiProcessCollector.merge(files):  # type: ignore[no-untyped-call]
        if metric.name == _RESPONSES:
            for sample in metric.samples:
                total += sample.value
                errors += sample.value if sample.labels["status"] == "5xx" else 0
    return total, errors
