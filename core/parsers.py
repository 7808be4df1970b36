"""JSON and CSV bodies, bounded in size and depth; gzip and deflate are unpacked."""

import io
import json
import zlib
from collections.abc import Mapping
from typing import IO, Any

import msgspec
from django.conf import settings
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from core.errors import IncompleteBody, Invalid, UnsupportedEncoding, body_too_large

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: zlib's own word for "gzip or zlib, as its header says".
_ANY_HEADER = zlib.MAX_WBITS | 32
# A longer integer is no number that is meant, and Python refuses to read it.
_LONGEST_INTEGER = 400


class JSONParser(BaseParser):
    """Strict JSON by msgspec: no NaN, no infinity, UTF-8 only; a byte order mark is passed over."""

    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, object] | None = None
    ) -> Any:
        """Decode the body; raises ParseError, Invalid, TooLarge, IncompleteBody, UnsupportedEncoding."""
        return decode_json(_read(stream))


class CSVParser(BaseParser):
    """A CSV table as the body itself, for services that read a file."""

    media_type = "text/csv"

    def parse(  # type: ignore[override]  # the services read it, and no serializer
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, object] | None = None
    ) -> IO[bytes]:
        """Return the body as a file; raises ParseError, TooLarge, IncompleteBody, UnsupportedEncoding."""
        return io.BytesIO(_read(stream))


class BytesParser(BaseParser):
    """The body as it is, under any content type."""

    media_type = "*/*"

    def parse(  # type: ignore[override]  # the view reads it, and no serializer
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, object] | None = None
    ) -> bytes:
        """Return the body; raises ParseError, TooLarge, IncompleteBody, UnsupportedEncoding."""
        return _read(stream)


def decode_json(body: bytes, *, is_nan_unknown: bool = False) -> object:
    """Decode JSON, NaN as null where it stands for unknown; raises Invalid with each number that has no value.

    Raises ParseError for what is no JSON.
    """
    body = body.removeprefix(_BYTE_ORDER_MARK)
    try:
        return msgspec.json.decode(body)
    except RecursionError as error:
        raise ParseError(_("The JSON is nested too deeply.")) from error
    except ValueError as error:
        try:
            decoded, paths = _decode_numbers(body, is_nan_unknown=is_nan_unknown)
        except (ValueError, RecursionError):
            paths = []
        else:
            if not paths and is_nan_unknown:
                return decoded
        if paths:
            message = _("Must be a finite number of ordinary size; null is unknown.")
            raise Invalid({path: [("out_of_range", message)] for path in paths}) from error
        raise ParseError(_("The body cannot be read as JSON: %(reason)s.") % {"reason": error}) from error


def _decode_numbers(body: bytes, *, is_nan_unknown: bool) -> tuple[object, list[str]]:
    """Decode JSON as Python writes it; returns it with the paths of the numbers that have no value."""
    no_value = float("inf")

    def constant(text: str) -> float | None:
        return None if is_nan_unknown and text == "NaN" else no_value

    def integer(text: str) -> float:
        return int(text) if len(text) <= _LONGEST_INTEGER else no_value

    decoded = json.loads(body, parse_constant=constant, parse_int=integer)
    paths: list[str] = []
    stack: list[tuple[str, object]] = [("", decoded)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, float) and value in (no_value, -no_value):
            paths.append(path.removeprefix(".") or "non_field_errors")
        elif isinstance(value, dict):
            stack += [(f"{path}.{name}", part) for name, part in value.items()]
        elif isinstance(value, list):
            stack += [(f"{path}.{index}", part) for index, part in enumerate(value)]
    return decoded, paths[::-1]


def _read(stream: IO[bytes]) -> bytes:
    """Read a body whole, and unpack it; raises TooLarge, IncompleteBody, UnsupportedEncoding, ParseError."""
    most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    body = stream.read(most + 1)
    if len(body) > most:
        raise body_too_large()
    headers = getattr(stream, "META", {})
    # A client that disconnects may leave a part that parses.
    if len(body) != int(headers.get("CONTENT_LENGTH") or len(body)):
        raise IncompleteBody
    encoding = headers.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise UnsupportedEncoding
    unpacker = zlib.decompressobj(_ANY_HEADER)
    try:
        # However well it is packed, no more than this is unpacked.
        unpacked = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        raise ParseError(_("The body cannot be unpacked: %(reason)s.") % {"reason": error}) from error
    if len(unpacked) > most:
        raise body_too_large()
    if not unpacker.eof or unpacker.unused_data:
        raise ParseError(_("The body cannot be unpacked: it ends too early, or goes on after its end."))
    return unpacked
