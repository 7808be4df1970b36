"""How long requests take."""

import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from monitoring.counters import REQUESTS
from predictions.together import LATER, Later

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

        def count(status: int) -> None:
            REQUESTS.labels(view, method, status).observe(time.perf_counter() - started)

        later: Later | None = request.META.get(LATER)
        if later is not None and later.is_left(response.status_code):
            later.count = count
        else:
            count(response.status_code)
        return response
