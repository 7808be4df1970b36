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
_MOST_CULPRITS, _LONGEST_NAME = 100, 100


class JSONParser(BaseParser):
    """Strict JSON: no NaN, no infinity, UTF-8 only, no key twice."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The body; raises ParseError, Invalid, TooLarge, UnsupportedMediaType."""
        encoding = getattr(stream, "META", {}).get("HTTP_CONTENT_ENCODING", "identity")
        if encoding != "identity":
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


def _impossible(value: Any, *names: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from _impossible(part, *names, str(name).encode(errors="replace").decode()[:_LONGEST_NAME])
    if not names:
        return
    if isinstance(value, float) and not math.isfinite(value):
        yield ".".join(names), [("not_finite", _("Must be a number that JSON knows, or null."))]
    elif isinstance(value, str) and not value.isascii() and _is_no_text(value):
        yield ".".join(names), [("not_utf8", _("Must be UTF-8."))]


def _is_no_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False
