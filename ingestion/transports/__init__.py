"""How a table gets here: one module for each kind of address, with the same three functions.

`check` says without a network whether an address may be used at all, `look` what is there by one call for metadata, and
`fetch` brings the whole of it. All raise SourceError, a sentence. An operator, at the shell or in the admin, may name
any file and any database; pages and API may name what is meant for them.
"""

from typing import IO, Protocol
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

from ingestion.transports import bucket, local, postgres, web
from ingestion.transports.errors import SourceError
from ingestion.transports.found import Found, Report

__all__ = ["Found", "Report", "SourceError", "check", "fetch", "look", "shown"]


class Transport(Protocol):
    """What a kind of address can do."""

    def check(self, uri: str, *, is_operator: bool) -> None:
        """Raise SourceError when this address may not be used."""

    def look(self, uri: str, *, is_operator: bool) -> list[Found]:
        """What is there, oldest change first."""

    def fetch(self, found: Found, into: IO[bytes], *, report: Report, is_operator: bool) -> str:
        """Write all of it into the file and return the version that was really fetched."""


_TRANSPORTS: dict[str, Transport] = {
    "": local, "gs": bucket, "https": web, "postgresql": postgres, "postgres": postgres,
}  # fmt: skip


def check(uri: str, *, is_operator: bool) -> None:
    """Raise SourceError when this address may not be used."""
    _of(uri).check(uri, is_operator=is_operator)


def look(uri: str, *, is_operator: bool) -> list[Found]:
    """What is at the address, from metadata alone, oldest change first; raises SourceError when nothing is."""
    check(uri, is_operator=is_operator)
    return _of(uri).look(uri, is_operator=is_operator)


def fetch(found: Found, into: IO[bytes], *, report: Report, is_operator: bool) -> str:
    """Write the whole object into the file and return the version that was really fetched."""
    check(found.uri, is_operator=is_operator)
    return _of(found.uri).fetch(found, into, report=report, is_operator=is_operator)


def shown(uri: str) -> str:
    """The address as people may see it: without a password.

    >>> shown("postgresql://ann:secret@db:5432/ship#passengers")
    'postgresql://ann@db:5432/ship#passengers'
    """
    try:
        parts = urlsplit(uri)
    except ValueError:
        return uri
    if parts.password is None:
        return uri
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username}@{place}").geturl()


def _of(uri: str) -> Transport:
    scheme, separator, _rest = uri.partition("://")
    transport = _TRANSPORTS.get(scheme.lower() if separator else "")
    if transport is None:
        message = _("“%(uri)s” is no address this system reads: give gs://…, https://…, or a file in the inbox.")
        raise SourceError(message % {"uri": shown(uri)}, field="uri")
    return transport
