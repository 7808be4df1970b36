"""The errors people see: one family, one JSON shape, one page."""

import errno
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Self

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.core.paginator import InvalidPage
from django.db import InterfaceError, OperationalError
from django.forms import Form
from django.http import UnreadablePostError
from django.utils.translation import gettext as _
from psycopg2 import errorcodes

from core.messages import Message, as_message
from core.redis import RedisUnavailable

#: How many fields an answer names, and how many letters of each name.
MAX_ERRORS, MAX_ATTR_LENGTH = 1_000, 200
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
logger = logging.getLogger(__name__)


class TitanicError(Exception):
    """An error a person can correct: `message` says what is wrong and what to do next.

    It is a text in the language of the request, or a Message where a job may store it for readers of every language.
    """

    code = "error"
    status: int = HTTPStatus.BAD_REQUEST
    #: What it says unless it is given a text.
    default_message = Message()
    #: Seconds after which to try again, where that may help.
    retry_after: int | None = None

    def __init__(self, message: Message | str = "", *, field: str | None = None) -> None:
        self.message = as_message(message or self.default_message)
        self.field = field
        super().__init__(self.message)


class Conflict(TitanicError):
    """The right input at the wrong time."""

    code = "conflict"
    status = HTTPStatus.CONFLICT


class Forbidden(TitanicError):
    """What the person's role does not permit."""

    code = "permission_denied"
    status = HTTPStatus.FORBIDDEN
    default_message = Message("Your role does not permit this. An administrator gives roles, at Users.")


class NoSuchPage(TitanicError):
    """A page that a list does not have."""

    code = "not_found"
    status = HTTPStatus.NOT_FOUND
    default_message = Message("There is no such page.")


class TooLarge(TitanicError):
    """More than this installation takes in one go."""

    code = "too_large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class IncompleteBody(TitanicError):
    """A body that did not arrive whole, or not in time."""

    code = "incomplete_body"
    status = HTTPStatus.REQUEST_TIMEOUT

    default_message = Message("The body did not arrive whole and in time. Send it again.")


class UnsupportedEncoding(TitanicError):
    """A body that is packed in a way that is not unpacked here."""

    code = "unsupported_media_type"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE

    default_message = Message(
        "Bodies of the API in JSON or CSV may be packed with gzip or deflate, others not at all."
        " A file that is uploaded may itself be gzip."
    )


class LengthRequired(TitanicError):
    """A body that does not say how long it is."""

    code = "length_required"
    status = HTTPStatus.LENGTH_REQUIRED

    default_message = Message("Send the body with a Content-Length, not in chunks.")


class Unavailable(TitanicError):
    """A part that is needed is unavailable for the moment."""

    code = "unavailable"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    default_message = Message("A service is unavailable for the moment. Try again in a few seconds.")
    retry_after = 5


class DeadlineExceeded(Unavailable):
    """A query that took longer than its limit."""

    code = "too_long"

    default_message = Message("This takes too long at the moment. Try again later, or ask for less.")


class InternalError(TitanicError):
    """A fault of this program."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR

    default_message = Message("A server error occurred.")


class Throttled(TitanicError):
    """More requests than this installation allows."""

    code = "throttled"
    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(_("Too many requests. Try again in %(wait)s seconds.") % {"wait": retry_after})
        self.retry_after = retry_after


class Invalid(TitanicError):
    """Input that breaks the contract, field by field: {field: [(code, message), ...]}."""

    code = "invalid"

    def __init__(self, errors: Mapping[str, list[tuple[str, str]]]) -> None:
        super().__init__(_("Some fields need correcting."))
        self.errors = errors

    @classmethod
    def of_form(cls, form: Form) -> Self:
        """Return the error for a form that is not valid."""
        return cls({
            name: [(error.code or "invalid", message) for error in errors for message in error.messages]
            for name, errors in form.errors.as_data().items()
        })  # fmt: skip

    def in_words(self) -> str:
        """Join all fields and messages in one line."""
        return "; ".join(f"{field}: {text}" for field, errors in self.errors.items() for _code, text in errors)


def body_too_large() -> TooLarge:
    """Return the error for a body beyond the limit."""
    return TooLarge(
        _("The body is larger than %(most)s MB.") % {"most": settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 1024**2}
    )


def to_api_error(error: Exception) -> TitanicError | None:
    """Translate an exception of Django, PostgreSQL, Redis or the disk; return None for a fault of the program."""
    if isinstance(error, TitanicError):
        return error
    if getattr(error, "errno", None) in _DISK_FULL or getattr(error.__cause__, "pgcode", None) == errorcodes.DISK_FULL:
        logger.error("the disk is full: %s", error)
        return Unavailable(Message("The disk is full. Make room and try again."))
    if getattr(error.__cause__, "pgcode", None) == errorcodes.QUERY_CANCELED:
        logger.warning("a query took too long: %s", error)
        return DeadlineExceeded()
    if isinstance(error, (OperationalError, InterfaceError, *RedisUnavailable)):
        logger.warning("a service is unavailable: %s", error)
        return Unavailable()
    return _from_django(error)


def _from_django(error: Exception) -> TitanicError | None:
    """Translate what Django raises when a view reads the body, or the number of a page."""
    if isinstance(error, InvalidPage):
        return NoSuchPage()
    if isinstance(error, UnreadablePostError):
        return IncompleteBody()
    if isinstance(error, RequestDataTooBig):
        return body_too_large()
    if isinstance(error, (TooManyFieldsSent, TooManyFilesSent)):
        return Invalid({"non_field_errors": [("too_many_fields", _("No address here takes so many fields."))]})
    return None


def retry_headers(error: TitanicError) -> dict[str, str]:
    """Return the Retry-After header, where trying again may help."""
    return {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}


def error_body(error: TitanicError) -> dict[str, object]:
    """Return the body in drf-standardized-errors' shape."""
    if isinstance(error, Invalid):
        errors: list[dict[str, object]] = [
            {"code": code, "detail": detail, "attr": attr[:MAX_ATTR_LENGTH]}
            for attr, messages in error.errors.items()
            for code, detail in messages
        ]
        if len(errors) > MAX_ERRORS:
            rest = _("%(count)s more are not listed.") % {"count": len(errors) - MAX_ERRORS}
            errors[MAX_ERRORS:] = [{"code": "more_errors", "detail": rest, "attr": None}]
        return {"type": "validation_error", "errors": errors}
    kind = "server_error" if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "client_error"
    kind = "validation_error" if error.status == HTTPStatus.BAD_REQUEST else kind
    return {"type": kind, "errors": [{"code": error.code, "detail": str(error.message), "attr": error.field}]}
