"""Files behind https.

An address comes from outside, so it may lead to public addresses only: not to this machine or its network, neither by
name nor by redirect. requests-hardened resolves a name once and connects to that address.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from ipaddress import IPv6Network, ip_address
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests_hardened.ip_filter import InvalidIPAddress
from requests_hardened.ip_filter_adapter import IPFilterAdapter

from core import http_errors
from core.messages import Message as _
from ingestion.transports.transfer import (
    BLOCK_BYTES,
    BoundedWriter,
    RemoteObject,
    ReportProgress,
    SourceError,
    check_size,
)

#: Seconds before a second, a third and a fourth try.
RETRY_DELAYS = (1.0, 2.0, 4.0)
MAX_DOWNLOAD_SECONDS = 3600.0
MAX_REDIRECTS = 5
#: Addresses that may be reached although they are not public; for the tests' own server alone.
EXEMPT_ADDRESSES: frozenset[str] = frozenset()
# requests-hardened lets IPv4-compatible (::127.0.0.1) and site-local (fec0::) addresses pass.
_PUBLIC_IPV6 = IPv6Network("2000::/3")
_RANGE_STATUSES = {HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}
_RETRYABLE = _RANGE_STATUSES | {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
_MAX_VERSION_LENGTH = 300
_MAX_LENGTH_DIGITS = 20


class _Transient(SourceError):
    """A transfer that may succeed at the next try."""


def check(uri: str, *, any_file: bool) -> str:
    """Return the address; raises SourceError for what is no https address, or has a password."""
    try:
        parts = urlsplit(uri)
        # Reading the port checks it; so does encoding the name.
        is_address = parts.port != 0 and bool((parts.hostname or "").encode("idna"))
    except ValueError:
        is_address = False
    if not is_address or not uri.isprintable() or "\\" in uri:
        message = _("“%(uri)s” is no https address: give https://host/path.")
        raise SourceError(message % {"uri": ascii(uri)[1:-1] if not uri.isprintable() else uri})
    if "@" in parts.netloc:
        raise SourceError(_("Take user and password out of the address: they are not kept safe there."))
    return uri


def stat(uri: str) -> list[RemoteObject]:
    """Find the file; its version is its ETag or its time of change."""
    with _session() as session:
        response = _request(session, "HEAD", uri)
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            # Some servers do not support HEAD, and a signed address is valid for GET only.
            response.close()
            response = _request(session, "GET", uri)
        with response:
            _check_status(uri, response)
            return [RemoteObject(uri, _version(response), _length(response))]


def fetch(remote: RemoteObject, target: IO[bytes], *, report: ReportProgress) -> str:
    """Download the file; a transfer that breaks off resumes where the server supports it, or starts over."""
    with _session() as session:
        download = _Download(session, remote.uri, BoundedWriter(target, report, uri=remote.uri))
        for pause in RETRY_DELAYS:
            with suppress(_Transient):
                return download.resume()
            time.sleep(pause)
        return download.resume()


class _Download:
    """One file, downloaded in one try or several."""

    def __init__(self, session: requests.Session, uri: str, writer: BoundedWriter) -> None:
        self._session = session
        self._uri = uri
        self._writer = writer
        self._etag = ""
        self._version = ""
        self._ends_at = time.monotonic() + MAX_DOWNLOAD_SECONDS

    def resume(self) -> str:
        """Fetch the rest and return the version; raises _Transient when it breaks off."""
        start = self._writer.byte_count if self._etag else 0
        headers = {"Range": f"bytes={start}-", "If-Range": self._etag} if start else {}
        with _request(self._session, "GET", self._uri, headers) as response:
            is_rest = (
                start > 0
                and response.status_code == HTTPStatus.PARTIAL_CONTENT
                and response.headers.get("ETag", self._etag) == self._etag
                and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            )
            if not is_rest:
                start = 0
                if response.status_code in _RANGE_STATUSES:
                    self._etag = ""
                _check_status(self._uri, response)
                etag = response.headers.get("ETag", "")
                # A weak one does not promise the same bytes.
                self._etag = etag if etag.startswith('"') else ""
                self._version = _version(response)
                self._writer.restart()
            self._save(response, start)
            return self._version

    def _save(self, response: requests.Response, start: int) -> None:
        length = _length(response)
        check_size(start + (length or 0), uri=self._uri)
        while True:
            with _source_errors(self._uri):
                # Not decoded: a compressed table stays compressed.
                block = response.raw.read1(BLOCK_BYTES, decode_content=False)
            if not block:
                break
            self._writer.write(block)
            if time.monotonic() > self._ends_at:
                raise SourceError(_("%(uri)s comes too slowly. Fetch it by hand and upload it.") % {"uri": self._uri})
        if length is not None and self._writer.byte_count != start + length:
            message = _("%(uri)s cannot be fetched: %(reason)s. Check the address and the network.")
            raise _Transient(message % {"uri": self._uri, "reason": _("the connection broke off")})
        self._writer.finish()


class _PublicAddressAdapter(IPFilterAdapter):  # type: ignore[misc]
    """Connect to public addresses only."""

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Check the resolved address; called before each connection."""
        pool_key, options = super().build_connection_pool_key_attributes(*args, **kwargs)
        address = ip_address(pool_key["host"].strip("[]"))
        is_public = address.is_global and (address.version == 4 or address in _PUBLIC_IPV6)  # noqa: PLR2004 - IP version 4
        if not is_public and str(address) not in EXEMPT_ADDRESSES:
            raise InvalidIPAddress(address)
        return pool_key, options


def _session() -> requests.Session:
    session = requests.Session()
    session.adapters.clear()
    session.mount("https://", _PublicAddressAdapter(is_https_proto=True, allow_loopback=bool(EXEMPT_ADDRESSES)))
    # A proxy of the environment would resolve names itself, past the filter.
    session.trust_env = False
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
    session.headers.update({"Accept-Encoding": "identity", "User-Agent": "titanic-mlops"})
    return session


def _request(
    session: requests.Session, method: str, uri: str, headers: dict[str, str] | None = None
) -> requests.Response:
    """Follow the redirects, checking each address like the first, and return the last response."""
    for _hop in range(MAX_REDIRECTS + 1):
        with _source_errors(uri):
            request = session.prepare_request(requests.Request(method, uri, headers=headers))
            # Not by the session, which reads the whole body of a redirect, however long.
            response = session.get_adapter(uri).send(
                request, stream=True, timeout=http_errors.TIMEOUT, verify=session.verify
            )
        if not response.is_redirect:
            return response
        response.close()
        try:
            uri = urljoin(uri, response.headers["Location"])
            is_https = urlsplit(uri).scheme == "https"
        except ValueError:
            is_https = False
        if not is_https:
            raise SourceError(
                _("The server redirects to an address that is not https. Give the final https:// address.")
            )
        check(uri, any_file=False)
    message = _("The server redirects more than %(most)s times. Give the final address.")
    raise SourceError(message % {"most": MAX_REDIRECTS})


def _check_status(uri: str, response: requests.Response) -> None:
    status = response.status_code
    if status == HTTPStatus.OK:
        return
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise SourceError(_("There is nothing at %(uri)s. Check the address.") % {"uri": uri})
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        message = _("The server does not show %(uri)s to this system. Give an address that needs no login, or upload.")
        raise SourceError(message % {"uri": uri})
    message = _("The server answers %(status)s for %(uri)s. Try again later.")
    is_retryable = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _RETRYABLE
    raise (_Transient if is_retryable else SourceError)(message % {"uri": uri, "status": status})


def _version(response: requests.Response) -> str:
    changed_at = response.headers.get("Last-Modified", "")
    version = response.headers.get("ETag") or (f"Last-Modified {changed_at}" if changed_at else "")
    return version[:_MAX_VERSION_LENGTH]


def _length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdecimal() and len(length) < _MAX_LENGTH_DIGITS else None


@contextmanager
def _source_errors(uri: str) -> Iterator[None]:
    """Turn the client's errors into a SourceError."""
    try:
        yield
    except InvalidIPAddress as error:
        message = _("%(uri)s leads to a private or local address, which is not fetched. Use the inbox or an upload.")
        raise SourceError(message % {"uri": uri}) from error
    except requests.exceptions.SSLError as error:
        message = _("There is no secure connection to %(uri)s: %(reason)s. Check the address.")
        raise SourceError(message % {"uri": uri, "reason": http_errors.reason_of(error)}) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, UnicodeError) as error:
        message = _("%(uri)s cannot be fetched: %(reason)s. Check the address and the network.")
        raise _Transient(message % {"uri": uri, "reason": http_errors.reason_of(error)}) from error
