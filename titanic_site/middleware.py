"""Refusals as pages."""

from collections.abc import Callable

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from titanic_site.lib.errors import Unavailable, as_refusal


class RefusalMiddleware:
    """Turns what a page refuses, or a service that is away, into a page; the API has its own handler."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        refusal = as_refusal(exception)
        if refusal is None:
            return None
        if isinstance(refusal, Unavailable):
            # Who is signed in may be just what cannot be asked.
            request.user = AnonymousUser()
        return render(request, "refusal.html", {"error": refusal}, status=refusal.status)
