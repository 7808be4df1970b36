"""Requests counted and timed by django-prometheus."""

from typing import Any

from django_prometheus.middleware import Metrics, PrometheusAfterMiddleware


class _NotCounted:
    """Stands in for a metric that is off."""

    def labels(self, **_labels: str) -> "_NotCounted":
        return self

    def inc(self, amount: float = 1) -> None: ...

    def observe(self, amount: float) -> None: ...


class _Metrics(Metrics):
    """The metrics by view; the rest are their sums, or the same for every request, and cost more than these."""

    KEPT = frozenset({
        "django_http_responses_total_by_status_view_method",
        "django_http_requests_latency_seconds_by_view_method",
        "django_http_exceptions_total_by_view",
        "django_http_exceptions_total_by_type",
    })  # fmt: skip

    def register_metric(self, metric_cls: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        return super().register_metric(metric_cls, name, *args, **kwargs) if name in self.KEPT else _NotCounted()


class RequestMetrics(PrometheusAfterMiddleware):
    """Counts and times every request by view and method; the first of all, so that nothing answers ahead of it."""

    metrics_cls = _Metrics
    METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

    def label_metric(self, metric: Any, request: Any, response: Any = None, **labels: Any) -> Any:
        # The library's histogram takes whatever a client calls its method, and each would be a series for ever.
        if labels.get("method", "GET") not in self.METHODS:
            labels["method"] = "<invalid method>"
        return super().label_metric(metric, request, response, **labels)
