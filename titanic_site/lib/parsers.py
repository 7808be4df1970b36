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
from titanic_site.lib.errors import Invalid, body_too_large

#: So many fields that no JSON can hold are named, each by so many letters at most.
_MOST_CULPRITS, _LONGEST_NAME = 100, 200


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
            if may_be_doubled(body, found):
                json.loads(body, object_pairs_hook=_without_doubles)
        except RecursionError as error:
            raise ParseError(_("The JSON is nested too deeply.")) from error
        except ValueError as error:
            if culprits := _culprits(body):
                raise Invalid(culprits) from error
            raise ParseError(_("The body cannot be read as JSON: %(reason)s.") % {"reason": error}) from error
        return found


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _value in pairs]
        doubled = sorted({name for name in names if names.count(name) > 1})
        raise Invalid({name: [("doubled_field", _("This field is given twice."))] for name in doubled})
    return found


def _culprits(body: bytes) -> dict[str, list[tuple[str, str]]]:
    """The fields that make the body no JSON, where a reader that takes NaN, infinity and any bytes can tell."""
    try:
        found = json.loads(body.decode(errors="surrogateescape"), parse_int=float)
        return dict(islice(_impossible(found), _MOST_CULPRITS))
    except (ValueError, RecursionError):
        return {}


def _impossible(value: Any, path: str = "") -> Iterator[tuple[str, list[tuple[str, str]]]]:
    if isinstance(value, dict):
        for name, part in value.items():
            below = f"{path}.{name}".lstrip(".").encode(errors="replace").decode()[:_LONGEST_NAME]
            yield from _impossible(name if _is_no_text(name) else part, below)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _impossible(part, f"{path}.{index}".lstrip(".")[:_LONGEST_NAME])
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
