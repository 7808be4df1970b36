"""The API's exception handler: one JSON shape for DRF's errors and ours."""

from typing import Any

from django.utils.translation import gettext as _
from drf_standardized_errors.handler import exception_handler
from rest_framework import exceptions
from rest_framework.response import Response

from core.errors import error_body, retry_headers, to_api_error


def api_exception_handler(exc: Exception, context: Any) -> Response | None:
    """Answer an exception of ours in the shape of drf-standardized-errors, which answers the others."""
    error = to_api_error(exc)
    if error is not None:
        return Response(error_body(error), status=error.status, headers=retry_headers(error))
    if isinstance(exc, UnicodeDecodeError):
        exc = exceptions.ParseError(_("The body is not valid UTF-8."))
    if isinstance(exc, exceptions.UnsupportedMediaType):
        types = ", ".join(dict.fromkeys(parser.media_type for parser in context["view"].get_parsers()))
        sent = context["request"].content_type
        message = _("The Content-Type “%(sent)s” is not read here. Send %(types)s.")
        if not sent:
            message = _("The body has no Content-Type. Send %(types)s.")
        exc = exceptions.UnsupportedMediaType(sent, message % {"sent": sent, "types": types})
    return exception_handler(exc, context)
