"""Probes under any host, the Content-Security-Policy, bodies without a length, errors as pages, sign-in."""

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.shortcuts import redirect, render
from django.urls import is_valid_path, resolve, reverse
from django.utils import timezone
from django_htmx.http import HttpResponseClientRedirect, reselect, retarget
from django_htmx.middleware import HtmxDetails

from core.errors import (
    Forbidden,
    LengthRequired,
    TitanicError,
    Unavailable,
    UnsupportedEncoding,
    error_body,
    retry_headers,
    to_api_error,
)
from core.roles import required_scope, scopes_of_request
from titanic_site.forms import time_zones

Handler = Callable[[HttpRequest], HttpResponse]


class HtmxRequest(HttpRequest):
    """A request after the htmx middleware."""

    htmx: HtmxDetails


#: The API's paths, but for its two HTML pages.
API_PATHS = re.compile(r"/api/v1/(?!docs/|redoc/)|/v2(/|$)")


#: What load balancers, the kubelet and Prometheus request: they know this process by an address or a service's name.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})


class ProbeMiddleware:
    """Answers probes under any Host, before all middleware that needs one, a language, a session or a user."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info not in PROBES:
            return self.get_response(request)
        request.resolver_match = resolve(request.path_info)
        return cast("HttpResponse", request.resolver_match.func(request))


class CompressionMiddleware(GZipMiddleware):
    """Compresses pages, styles, scripts and the API's schema; predictions, metrics and downloads are not."""

    TYPES = frozenset({
        "text/html", "text/css", "text/javascript", "application/javascript", "image/svg+xml",
        "application/vnd.oai.openapi",
    })  # fmt: skip

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        is_text = response.get("Content-Type", "").partition(";")[0] in self.TYPES
        # A part of a file is told by its place in the file.
        is_whole = not response.has_header("Content-Range")
        return super().process_response(request, response) if is_text and is_whole else response


def content_security_policy(get_response: Handler) -> Handler:
    """Send the policy with each response that does not have one of its own.

    django-csp builds it again for each response: an eighth of what a prediction costs.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        is_admin = request.path_info.startswith("/admin/")
        policy = settings.ADMIN_CONTENT_SECURITY_POLICY if is_admin else settings.CONTENT_SECURITY_POLICY
        response.headers.setdefault("Content-Security-Policy", policy)
        return response

    return middleware


def time_zone(get_response: Handler) -> Handler:
    """Show and read moments in the time zone that the visitor has chosen; the API speaks UTC."""

    def middleware(request: HttpRequest) -> HttpResponse:
        name = request.COOKIES.get("time_zone")
        if name is None or name not in time_zones() or API_PATHS.match(request.path_info):
            return get_response(request)
        with timezone.override(name):
            return get_response(request)

    return middleware


def length_required(get_response: Handler) -> Handler:
    """Reject a body without a length with 411: under WSGI Django would take it for an empty one.

    A proxy that buffers requests, as Compose has one, adds the length.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if "HTTP_TRANSFER_ENCODING" in request.META and not request.META.get("CONTENT_LENGTH"):
            error = LengthRequired()
            return error_json(request, error)
        return get_response(request)

    return middleware


def packed_body(get_response: Handler) -> Handler:
    """Reject packed bodies of forms and files with 415; the API's parsers unpack those in JSON or CSV."""

    def middleware(request: HttpRequest) -> HttpResponse:
        encoding = request.META.get("HTTP_CONTENT_ENCODING", "").strip().lower()
        if encoding not in ("", "identity"):
            is_form = request.content_type == "multipart/form-data" or not API_PATHS.match(request.path_info)
            if is_form:
                return error_json(request, UnsupportedEncoding())
        return get_response(request)

    return middleware


def kept_method(get_response: Handler) -> Handler:
    """Serve an address of the API that lacks its last slash, and redirect others so that the method stays.

    Clients repeat a POST as a GET after 301, and get a list instead of an answer.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        path = request.path_info
        if path.startswith("/api/v1/") and not path.endswith("/") and not is_valid_path(path):
            request.path, request.path_info = f"{request.path}/", f"{path}/"
        response = get_response(request)
        if response.status_code == HTTPStatus.MOVED_PERMANENTLY and request.method not in ("GET", "HEAD"):
            response.status_code = HTTPStatus.PERMANENT_REDIRECT
        return response

    return middleware


class ErrorPageMiddleware:
    """Turns an error a person can correct, or an unavailable service, into a page; the API has its own handler."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        error = to_api_error(exception)
        return None if error is None else error_page(request, error)


class AccessMiddleware(LoginRequiredMiddleware):
    """Requires the scope that a page declares; redirects anonymous visitors to the sign-in page, and from there back.

    The API has its own classes for it, and the admin asks for Django's permissions (`core.roles`).
    """

    def process_view(
        self, request: HttpRequest, view_func: Callable[..., Any], view_args: Any, view_kwargs: Any
    ) -> HttpResponseBase | None:
        # First: a public page is answered also while the session cannot be looked up.
        is_public = not getattr(view_func, "login_required", True)
        if is_public and (settings.PUBLIC_FORM or not getattr(view_func, "is_form", False)):
            return None
        try:
            scopes = scopes_of_request(request)
            is_anonymous = not (scopes or request.user.is_authenticated)
        except (DatabaseError, InterfaceError) as error:
            known = to_api_error(error)
            if known is None:
                raise
            return error_page(request, known)
        if not is_anonymous:
            # The admin asks for permissions, and to change one's password needs no role.
            is_djangos = request.path_info.startswith("/admin/") or view_func.__module__.startswith("django.contrib.")
            scope = None if is_djangos else required_scope(view_func, request.method)
            if scope is None or scope in scopes:
                return None
            # Whoever signs in arrives there, also a user without a role, who may use the form.
            is_arrival = request.method == "GET" and request.path_info == reverse(settings.LOGIN_REDIRECT_URL)
            return redirect("home") if is_arrival else error_page(request, Forbidden())
        answer = self.handle_no_permission(request, view_func)
        # The whole page is redirected, not the fragment alone.
        return HttpResponseClientRedirect(answer["Location"]) if cast("HtmxRequest", request).htmx else answer

    def handle_no_permission(self, request: HttpRequest, view_func: Callable[..., Any]) -> HttpResponseRedirect:
        htmx = cast("HtmxRequest", request).htmx
        if htmx:
            return redirect_to_login(htmx.current_url_abs_path or "/")
        if request.method not in ("GET", "HEAD"):
            # A posted form is lost; the page it was on is not. The sign-in page redirects to no other host.
            return redirect_to_login(request.headers.get("Referer", "/"))
        return super().handle_no_permission(request, view_func)


def error_json(request: HttpRequest, error: TitanicError) -> JsonResponse:
    """Answer an error in the shape of the API at this address: the inference protocol has one of its own."""
    body = {"error": str(error.message)} if request.path_info.startswith("/v2/") else error_body(error)
    return JsonResponse(body, status=error.status, headers=retry_headers(error))


def error_page(request: HttpRequest, error: TitanicError) -> HttpResponse:
    """Render an error as a page, or for htmx as a notice."""
    if isinstance(error, Unavailable):
        # The session may be just what cannot be looked up.
        request.user = AnonymousUser()
    is_fragment = getattr(request, "htmx", False)
    template = "_components/error.html" if is_fragment else "error.html"
    response = render(request, template, {"error": error}, status=error.status)
    # A poll repeats by itself and keeps what it shows until then; what else htmx asked for keeps the page that is open.
    if is_fragment and request.method not in ("GET", "HEAD"):
        response["HX-Reswap"] = "innerHTML show:window:top"
        reselect(retarget(response, "#notices"), "#error")
    for name, value in retry_headers(error).items():
        response[name] = value
    return response
