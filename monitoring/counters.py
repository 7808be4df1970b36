"""The counters of monitoring; all processes add to them in `settings.METRICS_DIR`."""

from prometheus_client import Counter

from features.definition import DERIVED, FEATURES

DRIFTS = Counter("drift_count", "Alarms of the drift watch", ["feature"])
# A series that begins with its first drift would show no increase.
for _feature in FEATURES:
    if _feature not in DERIVED:
        DRIFTS.labels(_feature)
