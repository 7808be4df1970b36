"""JSON bodies, bounded in size and depth."""

import json
from collections.abc import Mapping
from typing import IO, Any

import msgspec
from django.conf import settings
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from titanic_site.lib.doubles import may_be_doubled
from titanic_site.lib.errors import Invalid, body_too_large


class JSONParser(BaseParser):
    """Strict JSON: no NaN, no infinity, UTF-8 only, no key twice."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The body; raises ParseError or TooLarge."""
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
            raise ParseError(_("The body cannot be read as JSON: %(reason)s.") % {"reason": error}) from error
        return found


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _value in pairs]
        doubled = sorted({name for name in names if names.count(name) > 1})
        raise Invalid({name: [("doubled_field", _("This field is given twice."))] for name in doubled})
    return found
