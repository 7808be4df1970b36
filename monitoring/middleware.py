"""How long requests take."""

import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from monitoring.counters import REQUESTS

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestMetrics:
    """Counts and times every request by view, method and status; the labels are bounded by what we have named."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        response = self.get_response(request)
        match = request.resolver_match
        view = (match.view_name or match._func_path) if match else "unknown"
        method = request.method if request.method in _METHODS else "other"
        REQUESTS.labels(view, method, response.status_code).observe(time.perf_counter() - started)
        return response
