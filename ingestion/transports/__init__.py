"""Fetch tables: one module for each kind of address, with the same three functions.

Everybody may name a file of the inbox, the sample, what SOURCE_URI names, gs:// and https://; an administrator's source
in the admin a database too, and only a command any file.
"""

import re
from dataclasses import replace
from typing import IO, Protocol

from django.conf import settings

from core.messages import Message as _
from ingestion.transports import bucket, local, postgres, web
from ingestion.transports.transfer import RemoteObject, ReportProgress, SourceError

__all__ = ["RemoteObject", "ReportProgress", "SourceError", "check", "fetch", "names_database", "redact", "stat"]


class _Transport(Protocol):
    """The functions of each module; only an address that was checked reaches `stat` and `fetch`."""

    def check(self, uri: str, *, any_file: bool) -> str: ...

    def stat(self, uri: str) -> list[RemoteObject]: ...

    def fetch(self, remote: RemoteObject, target: IO[bytes], *, report: ReportProgress) -> str: ...


_TRANSPORTS: dict[str, _Transport] = {
    "": local,
    "gs": bucket,
    "https": web,
    "postgres": postgres,
    "postgresql": postgres,
}
# All between a user's name and the last @, unless it is a port: this hides a password that was not encoded, too.
_PASSWORD = re.compile(r"^([a-z0-9+.-]+://[^:/?#@]*):(?!\d+[/?#])[^#]*@", re.IGNORECASE)
_PASSWORD_PARAMETER = re.compile(r"([?&](?:ssl)?password=)[^&#]*", re.IGNORECASE)


def check(uri: str, *, any_file: bool = False, databases: bool = False) -> str:
    """Return the address, a file's as its whole path; raises SourceError for one that may not be used. No network."""
    is_configured = uri == settings.SOURCE_URI
    if names_database(uri) and not (databases or is_configured):
        message = _(
            "A database is named in the admin, by an administrator, or at the shell: its address carries a password."
        )
        raise SourceError(message)
    return _transport_of(uri).check(uri, any_file=any_file or is_configured)


def names_database(uri: str) -> bool:
    """Tell whether the address is a database's."""
    return uri.lower().startswith(("postgres://", "postgresql://"))


def stat(uri: str, *, any_file: bool = False, databases: bool = False) -> list[RemoteObject]:
    """Find what is at the address, from metadata alone, oldest change first; raises SourceError when nothing is."""
    uri = check(uri, any_file=any_file, databases=databases)
    return _transport_of(uri).stat(uri)


def fetch(
    remote: RemoteObject,
    target: IO[bytes],
    *,
    report: ReportProgress,
    any_file: bool = False,
    databases: bool = False,
) -> str:
    """Write the object into the empty file and return the version that was fetched."""
    uri = check(remote.uri, any_file=any_file, databases=databases)
    return _transport_of(uri).fetch(replace(remote, uri=uri), target, report=report)


def redact(uri: str) -> str:
    """Remove the password from an address.

    >>> redact("postgresql://ann:secret@db:5432/ship#passengers")
    'postgresql://ann@db:5432/ship#passengers'
    """
    return _PASSWORD_PARAMETER.sub(r"\1…", _PASSWORD.sub(r"\1@", uri))


def _transport_of(uri: str) -> _Transport:
    scheme, separator, _rest = uri.partition("://")
    scheme = scheme.lower() if separator else ""
    if scheme == "file":
        raise SourceError(_("Name a file by its path alone, without file://."))
    if scheme not in _TRANSPORTS:
        message = _("“%(uri)s” is no address this system reads: give gs://…, https://…, or a file in the inbox.")
        raise SourceError(message % {"uri": redact(uri)})
    return _TRANSPORTS[scheme]
