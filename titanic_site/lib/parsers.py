"""JSON bodies, bounded in size and depth."""

import json
import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import IO, Any

import msgspec
from django.conf import settings
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser

from titanic_site.lib.doubles import may_be_doubled
from titanic_site.lib.errors import LONGEST_NAME, MOST_TOLD, Invalid, body_too_large


class JSONParser(BaseParser):
    """Strict JSON: no NaN, no infinity, UTF-8 only, no key twice."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The body; raises ParseError, Invalid, TooLarge, UnsupportedMediaType."""
        encoding = getattr(stream, "META", {}).get("HTTP_CONTENT_ENCODING", "").strip().lower()
        if encoding not in ("", "identity"):
            message = _("A body with the Content-Encoding “%(name)s” is not taken: send it as it is.")
            raise UnsupportedMediaType(encoding, message % {"name": encoding[:50]})
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(most + 1)
        if len(body) > most:
            raise body_too_large()
        return self.decode(body)

    def decode(self, body: bytes) -> Any:
        """What the JSON says; raises ParseError, Invalid."""
        try:
            found = msgspec.json.decode(body)
            culprits = _culprits(body) if may_be_doubled(body, found) else {}
        except RecursionError as error:
            raise ParseError(_("The JSON is nested too deeply.")) from error
        except ValueError as error:
            culprits = _culprits(body)
            if not culprits:
                raise ParseError(_("The body cannot be read as JSON: %(reason)s.") % {"reason": error}) from error
        if culprits:
            raise Invalid(culprits)
        return found


class _Object(list[tuple[str, Any]]):
    """A JSON object as it stands there."""


def _culprits(body: bytes) -> dict[str, list[tuple[str, str]]]:
    """The fields that no JSON can hold, or that stand twice, where a reader that takes all of it can tell."""
    try:
        found = json.loads(body.decode(errors="surrogateescape"), parse_int=float, object_pairs_hook=_Object)
        return dict(islice(_impossible(found), MOST_TOLD))
    except (ValueError, RecursionError):
        return {}


def _impossible(value: Any, path: str = "") -> Iterator[tuple[str, list[tuple[str, str]]]]:
    if isinstance(value, _Object):
        names: set[str] = set()
        for name, part in value:
            below = f"{path}.{name}".lstrip(".").encode(errors="replace").decode()[:LONGEST_NAME]
            if name in names:
                yield below, [("doubled_field", _("This field is given twice."))]
            names.add(name)
            yield from _impossible(name if _is_no_text(name) else part, below)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _impossible(part, f"{path}.{index}".lstrip(".")[:LONGEST_NAME])
    elif isinstance(value, float) and not math.isfinite(value):
        yield path, [("not_finite", _("Must be a number that JSON knows, or null."))]
    elif isinstance(value, str) and _is_no_text(value):
        yield path, [("not_utf8", _("Must be UTF-8."))]


def _is_no_text(value: str) -> bool:
    if value.isascii():
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False
