"""The API's errors: one JSON shape for everybody's."""

from typing import Any

from django.utils.translation import gettext as _
from drf_standardized_errors.handler import exception_handler
from rest_framework import exceptions
from rest_framework.response import Response

from core.errors import error_body, retry_headers, to_api_error


def api_exception_handler(exc: Exception, context: Any) -> Response | None:
    """DRF's exceptions through drf-standardized-errors, ours in the same shape."""
    refusal = to_api_error(exc)
    if refusal is not None:
        return Response(error_body(refusal), status=refusal.status, headers=retry_headers(refusal))
    if isinstance(exc, UnicodeDecodeError):
        exc = exceptions.ParseError(_("The body is not valid UTF-8."))
    return exception_handler(exc, context)
