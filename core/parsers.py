"""JSON and CSV bodies, bounded in size and depth."""

import io
from collections.abc import Mapping
from typing import IO, Any

import msgspec
from django.conf import settings
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from core.errors import IncompleteBody, body_too_large


class JSONParser(BaseParser):
    """Strict JSON by msgspec: no NaN, no infinity, UTF-8 only."""

    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, object] | None = None
    ) -> Any:
        """Decode the body; raises ParseError, TooLarge, IncompleteBody."""
        try:
            return msgspec.json.decode(_read(stream))
        except RecursionError as error:
            raise ParseError(_("The JSON is nested too deeply.")) from error
        except ValueError as error:
            raise ParseError(_("The body cannot be read as JSON: %(reason)s.") % {"reason": error}) from error


class CSVParser(BaseParser):
    """A CSV table as the body itself, for services that read a file."""

    media_type = "text/csv"

    def parse(  # type: ignore[override]  # the services read it, and no serializer
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, object] | None = None
    ) -> IO[bytes]:
        """Return the body as a file; raises TooLarge, IncompleteBody."""
        return io.BytesIO(_read(stream))


def _read(stream: IO[bytes]) -> bytes:
    """Read a body whole; raises TooLarge, IncompleteBody."""
    most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    body = stream.read(most + 1)
    if len(body) > most:
        raise body_too_large()
    # A client that disconnects may leave a part that parses.
    if len(body) != int(getattr(stream, "META", {}).get("CONTENT_LENGTH") or len(body)):
        raise IncompleteBody
    return body
