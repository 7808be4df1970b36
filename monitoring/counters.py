"""What monitoring counts; the values of all processes meet in `settings.METRICS_DIR`."""

from prometheus_client import Counter, Histogram

DRIFTS = Counter("drift_count", "Features found to have drifted", ["feature"])
REFUSALS = Counter(
    "titanic_server_refusals", "Requests that the web server itself answered in a view's place", ["status"]
)
REQUESTS = Histogram(
    "titanic_request_seconds",
    "From a request's arrival at a worker thread to its response",
    ["view", "method", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
