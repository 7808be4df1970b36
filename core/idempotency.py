"""Idempotency keys: the same key and body within a day get the same answer, and start what they start once.

(The IETF draft "The Idempotency-Key HTTP Header Field".) The answer is stored in the transaction of what it tells of:
neither is there without the other, and of two requests at once PostgreSQL lets the second wait for the first.
"""

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import TypeVar

import msgspec
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils import timezone
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Conflict, Invalid
from core.models import StoredAnswer
from core.renderers import JSONRenderer

HEADER = "Idempotency-Key"
#: The header of an answer that was stored.
REPLAYED = {"Idempotency-Replayed": "true"}
LIFETIME = timedelta(days=1)
MAX_LENGTH = 255
#: Printable ASCII, as headers have it, and not blank.
PATTERN = r"^[\x20-\x7e]*[\x21-\x7e][\x20-\x7e]*$"
encode_sorted = msgspec.json.Encoder(order="sorted").encode

Handler = TypeVar("Handler", bound=Callable[..., Response])


def idempotent(handler: Handler) -> Handler:
    """Let a view's POST read the header: under a known key it returns the stored answer.

    What is refused stores nothing, and leaves its key free.
    """

    @wraps(handler)
    def post(view: object, request: Request, *args: object, **kwargs: object) -> Response:
        text = request.headers.get(HEADER)
        if text is None:
            return handler(view, request, *args, **kwargs)
        row = {"key": key_hash(text, caller_of(request), request.path)}
        body_hash = _hash(request.data)
        with transaction.atomic():
            StoredAnswer.objects.filter(**row, created_at__lt=timezone.now() - LIFETIME).delete()
            stored, is_new = StoredAnswer.objects.get_or_create(**row, defaults={"body_hash": body_hash})
            if is_new:
                response = handler(view, request, *args, **kwargs)
                stored.status, stored.body = response.status_code, JSONRenderer().render(response.data).decode()
                stored.location = response.get("Location", "")
                stored.save()
                return response
        if stored.body_hash != body_hash:
            raise conflict()
        location = {"Location": stored.location} if stored.location else {}
        content = msgspec.Raw(stored.body.encode()) if stored.body else None
        return Response(content, status=stored.status, headers={**location, **REPLAYED})

    post.is_idempotent = True  # type: ignore[attr-defined]
    return post  # type: ignore[return-value]


def key_hash(text: str, *scope: object) -> str:
    """Hash a key with the scope within which it is one; raises Invalid."""
    if len(text) > MAX_LENGTH or not re.fullmatch(PATTERN, text):
        message = _("Must be 1 to %(most)s printable characters of ASCII.") % {"most": MAX_LENGTH}
        raise Invalid({HEADER: [("invalid", message)]})
    return hashlib.sha256("\n".join(map(str, (*scope, text))).encode()).hexdigest()


def caller_of(request: Request) -> object:
    """Name who calls: each caller has keys of its own."""
    return request.user.pk if request.auth else "anybody"


def conflict() -> Conflict:
    """Return the error for a key that was given with another body."""
    message = _("This key was given with another body before: use a new one, or send that body.")
    return Conflict(message, field=HEADER)


def _hash(body: object) -> str:
    """Hash a decoded body: JSON whatever the order of its fields, a form with the contents of its files."""
    digest = hashlib.sha256()
    if not isinstance(body, MultiValueDict):
        digest.update(encode_sorted(body))
        return digest.hexdigest()
    for name, values in sorted(body.lists()):
        for value in values:
            digest.update(f"\n{name}={value}\n".encode(errors="replace"))
            if isinstance(value, UploadedFile):
                for chunk in value.chunks():
                    digest.update(chunk)
                value.seek(0)
    return digest.hexdigest()
