"""Files behind https.

The address is somebody's input, so it may lead nowhere but into the open internet: not to this machine, not into its
network, neither by name nor by redirect. requests-hardened resolves a name once and connects to that very address.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

from django.utils.translation import gettext as _

from ingestion.transports.errors import SourceError
from ingestion.transports.found import BLOCK_BYTES, Found, Report

TRIES = 4
BACK_OFF_SECONDS = 1.0
TIMEOUT = (10.0, 30.0)
LARGEST_BYTES = 16 * 1024**3
MOST_REDIRECTS = 5
#: Only tests, with a server of their own, allow the loopback and another authority.
ALLOWS_LOOPBACK = False
AUTHORITIES: bool | str = True
_REDIRECTS = {301, 302, 303, 307, 308}
_WITHOUT_HEAD = {HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}


class _BrokenOff(Exception):
    """A transfer that may go better the next time."""


def check(uri: str, *, is_operator: bool) -> None:
    """Refuse what is no https address, or carries a password."""
    try:
        parts = urlsplit(uri)
        is_plain = bool(parts.hostname) and parts.username is None and (parts.port is None or parts.port > 0)
    except ValueError:
        is_plain = False
    if not is_plain or not uri.isprintable() or " " in uri:
        message = _("“%(uri)s” is no plain https address: give https://host/path, without a user or a password.")
        raise SourceError(message % {"uri": "".join(filter(str.isprintable, uri))}, field="uri")


def look(uri: str, *, is_operator: bool) -> list[Found]:
    """The file, by its ETag or its time of change."""
    with _session() as session, _explained(uri):
        response = _asked(session, "HEAD", uri)
        if response.status_code in _WITHOUT_HEAD:
            response = _asked(session, "GET", uri)
        with response:
            _refuse_status(uri, response)
            size = response.headers.get("Content-Length", "")
            return [Found(uri, _version(response), int(size) if size.isdecimal() else None)]


def fetch(found: Found, into: IO[bytes], *, report: Report, is_operator: bool) -> str:
    """Download the file; a transfer that breaks off resumes where the server can, or starts over."""
    version = ""
    with _session() as session:
        for attempt in range(TRIES):
            try:
                with _explained(found.uri, can_retry=attempt + 1 < TRIES):
                    response = _resumed(session, found.uri, into, version)
                    with response:
                        version = _version(response)
                        _save(found.uri, response, into, report)
                    return version
            except _BrokenOff:
                time.sleep(BACK_OFF_SECONDS * 2**attempt)
    raise AssertionError


def _resumed(session: Any, uri: str, into: IO[bytes], version: str) -> Any:
    """An answer that goes on where the file ends, or one from the beginning into an emptied file."""
    offset = into.tell()
    headers = {"Range": f"bytes={offset}-", "If-Range": version} if offset and version.startswith('"') else {}
    response = _asked(session, "GET", uri, headers)
    starts_there = response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
    if response.status_code == HTTPStatus.PARTIAL_CONTENT and starts_there:
        return response
    if response.status_code == HTTPStatus.OK:
        into.seek(0)
        into.truncate()
        return response
    with response:
        _refuse_status(uri, response)
    raise _BrokenOff


def _save(uri: str, response: Any, into: IO[bytes], report: Report) -> None:
    # Bytes as they are stored: a table that is compressed says so itself.
    for block in response.raw.stream(BLOCK_BYTES, decode_content=False):
        into.write(block)
        report(into.tell())
        if into.tell() > LARGEST_BYTES:
            message = _("%(uri)s is larger than %(most)s GB. Split it.")
            raise SourceError(message % {"uri": uri, "most": LARGEST_BYTES // 1024**3}, field="uri")


def _session() -> Any:
    from requests_hardened import Config, Manager

    config = Config(
        default_timeout=TIMEOUT, never_redirect=False, ip_filter_enable=True,
        ip_filter_allow_loopback_ips=ALLOWS_LOOPBACK, user_agent_override="titanic-mlops",
    )  # fmt: skip
    session = Manager(config).get_session()
    # A proxy of the environment would resolve names itself, out of the filter's sight.
    session.trust_env = False
    session.verify = AUTHORITIES
    return session


def _asked(session: Any, method: str, uri: str, headers: dict[str, str] | None = None) -> Any:
    """The last answer of a chain of redirects, each of them checked like the first address."""
    for _hop in range(MOST_REDIRECTS + 1):
        response = session.request(
            method, uri, headers={"Accept-Encoding": "identity", **(headers or {})},
            stream=True, allow_redirects=False, timeout=TIMEOUT,
        )  # fmt: skip
        if response.status_code not in _REDIRECTS or "Location" not in response.headers:
            return response
        response.close()
        uri = urljoin(uri, response.headers["Location"])
        if urlsplit(uri).scheme != "https":
            message = _("The server redirects to %(uri)s, which is not https. Give the final https address.")
            raise SourceError(message % {"uri": uri[:200]}, field="uri")
        check(uri, is_operator=False)
    message = _("The server redirects more than %(most)s times. Give the final address.")
    raise SourceError(message % {"most": MOST_REDIRECTS}, field="uri")


def _version(response: Any) -> str:
    return str(response.headers.get("ETag") or response.headers.get("Last-Modified") or "")[:300]


def _refuse_status(uri: str, response: Any) -> None:
    status = response.status_code
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _BrokenOff(status)
    if status >= HTTPStatus.BAD_REQUEST:
        message = _("%(uri)s cannot be fetched: the server answers %(status)s %(reason)s. Check the address.")
        reason = "".join(filter(str.isprintable, response.reason or ""))[:100]
        raise SourceError(message % {"uri": uri, "status": status, "reason": reason}, field="uri")


@contextmanager
def _explained(uri: str, *, can_retry: bool = False) -> Iterator[None]:
    """Turn the client's errors into one sentence, or into another try."""
    import requests
    import urllib3
    from requests_hardened.ip_filter import InvalidIPAddress

    try:
        yield
    except InvalidIPAddress as error:
        message = _("%(uri)s leads to a private or local address, which is not fetched. Use the inbox or an upload.")
        raise SourceError(message % {"uri": uri}, field="uri") from error
    except requests.exceptions.SSLError as error:
        message = _("The certificate of %(uri)s is not valid. Check the address.")
        raise SourceError(message % {"uri": uri}, field="uri") from error
    except requests.exceptions.InvalidURL as error:
        raise SourceError(_("“%(uri)s” is no address.") % {"uri": uri}, field="uri") from error
    except (_BrokenOff, requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, (requests.RequestException, ConnectionError)):
            raise
        if can_retry:
            raise _BrokenOff from error
        message = _("%(uri)s cannot be fetched: %(reason)s. Check the address and the network.")
        raise SourceError(message % {"uri": uri, "reason": _reason(error)}, field="uri") from error


def _reason(error: BaseException) -> str:
    if isinstance(error, _BrokenOff):
        return _("the server answers %(status)s") % {"status": error.args[0] if error.args else "?"}
    name = type(error).__name__
    reasons = {"ConnectTimeout": _("no answer in time"), "ReadTimeout": _("no answer in time")}
    return reasons.get(name, _("the connection fails or breaks off"))
