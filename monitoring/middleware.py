"""Requests counted and timed by django-prometheus."""

import re
from typing import Any

from django.http.response import HttpResponseBase
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
    """Counts and times every request by view, method and class of status; the first of all: nothing answers before it.

    Whatever anonymous clients request, the series are few: what no view answered is one view.
    """

    metrics_cls = _Metrics
    METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
    #: Without the right, without a CSRF token, by a method that the view does not take, too often.
    REJECTIONS = frozenset({401, 403, 405, 429})
    SIGN_IN = re.compile(r"/(accounts|admin)/login/\?")

    def label_metric(self, metric: Any, request: Any, response: Any = None, **labels: Any) -> Any:
        # The library's histogram takes whatever a client calls its method.
        if labels.get("method", "GET") not in self.METHODS:
            labels["method"] = "<invalid method>"
        if "status" in labels:
            labels["status"] = f"{labels['status'][0]}xx"
        if "view" in labels and response is not None and self._is_rejection(response):
            labels["view"] = "<rejected>"
        return super().label_metric(metric, request, response, **labels)

    def _is_rejection(self, response: HttpResponseBase) -> bool:
        target = response.headers.get("Location") or response.headers.get("HX-Redirect") or ""
        return response.status_code in self.REJECTIONS or bool(self.SIGN_IN.match(target))
