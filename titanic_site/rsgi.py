"""The door of the web processes: an event loop talks with the clients, a few threads do the work.

A client that sends or reads slowly costs no thread, and a body is not waited for without end. granian's own WSGI door
gives a thread to each body from its first byte on, and has no limit of time for it (its issue 728).
"""

import asyncio
import gc
import io
import json
import logging
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import IO, Any, Final

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.urls import resolve
from granian._granian import RSGIHTTPProtocol as HTTPProtocol
from granian._granian import RSGIProtocolClosed as ProtocolClosed
from granian._granian import RSGIProtocolError as ProtocolError
from granian.rsgi import Scope
from granian.utils.proxies import wrap_wsgi_with_proxy_headers

from titanic_site.lib.errors import (
    Broken,
    IncompleteBody,
    TitanicError,
    TooLong,
    as_refusal,
    body_at,
    body_too_large,
    file_too_large,
    retry_headers,
)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "titanic_site.settings")
# libpq's own variable: what a page asks of Postgres ends before whoever waits for it is told to wait no longer.
os.environ.setdefault("PGOPTIONS", "-c statement_timeout=50s")
django.setup(set_prefix=False)

from monitoring.counters import REFUSALS  # noqa: E402
from predictions import explanation, scorer, together  # noqa: E402
from titanic_site.lib.uploads import takes_file  # noqa: E402

if settings.ENV.artifact_bucket:
    # The client's forty megabytes are for who has a bucket.
    from titanic_site.lib import bucket

    bucket.hurry()

logger = logging.getLogger(__name__)

#: How long (seconds) a body may take; one that is read while it arrives may take longer at this rate (bytes a second).
PATIENCE: Final = 20.0
LEAST_RATE: Final = 50_000
#: After how long (seconds) whoever waits for an answer, or for his upload to be taken, is told that there is none yet.
DEADLINE: Final = 60.0
#: What is not longer (bytes) may be answered together with others.
_SHORT = 4_096
#: What is longer (bytes) is not read before the work begins, but while it goes on.
_UPLOAD = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
#: How the addresses end that fetch a file from storage.
_FILES = ("/artifact/", "/results.csv")
#: What is longer (bytes) waits on disk, is worked off one at a time, and goes out piece by piece.
_LARGE = 1024**2

# Python runs one at a time; the others wait for the database, for Redis, or for the model.
_work = ThreadPoolExecutor(3, "work")
# What keeps the processor busy for long: one at a time, for none is done sooner beside another, and short answers do
# not wait behind it.
_explaining, _batches = ThreadPoolExecutor(1, "explaining"), ThreadPoolExecutor(1, "batches")
# What is as slow as a client, a disk, or a bucket: a thread that waits costs little.
_large, _downloads = ThreadPoolExecutor(32, "large"), ThreadPoolExecutor(2, "downloads")

_handler = wrap_wsgi_with_proxy_headers(WSGIHandler(), trusted_hosts=settings.ENV.trusted_proxies)
_desk = together.Desk()
_Head = tuple[int, list[tuple[str, str]]]
#: Status and headers, and the content, or the stream that it is.
_Response = tuple[_Head, bytes, Any]


async def application(scope: Scope, protocol: HTTPProtocol) -> None:
    """Answer one request."""
    environ = _environ(scope)
    try:
        # Of a body in chunks nobody knows how long it is.
        size = 0 if "HTTP_TRANSFER_ENCODING" in environ else int(environ.get("CONTENT_LENGTH") or 0)
        # What is around a file in its form is less than this.
        if size > settings.LARGEST_UPLOAD + _UPLOAD:
            _refuse(protocol, file_too_large(), path=scope.path)
            return
        if size > _UPLOAD:
            if not takes_file(scope.path):
                _refuse(protocol, body_too_large(), path=scope.path)
                return
            arriving = await _begun(protocol, size=size)
            environ["wsgi.input"] = io.BufferedReader(arriving, 64 * 1024)
            await _answer(protocol, environ, pool=_large, is_arriving=True)
            return
        if size or "HTTP_TRANSFER_ENCODING" in environ:
            environ["wsgi.input"] = body = await _whole(protocol, size=size)
            size = body.seek(0, io.SEEK_END)
            environ["CONTENT_LENGTH"] = str(size)
            body.seek(0)
        if environ["REQUEST_METHOD"] == "POST" and 0 < size <= _SHORT:
            environ[together.LATER] = _desk.expect(environ["PATH_INFO"])
        await _answer(protocol, environ, pool=_pool(environ, size=size))
    except (ProtocolClosed, ProtocolError):
        logger.info("%s %s: the client has gone", scope.method, scope.path)
    except Exception as error:  # noqa: BLE001
        _refuse(protocol, _refusal_of(error, path=scope.path), path=scope.path)


def _pool(environ: dict[str, Any], *, size: int) -> ThreadPoolExecutor:
    path: str = environ["PATH_INFO"]
    if path.endswith(explanation.ADDRESSES):
        return _explaining
    if settings.ENV.artifact_bucket and (
        path.endswith(_FILES) or environ.get("CONTENT_TYPE", "").startswith("multipart/")
    ):
        return _large
    return _batches if size > _LARGE else _work


def _refusal_of(error: Exception, *, path: str) -> TitanicError:
    """What a client is told of whatever went wrong."""
    refusal = as_refusal(error)
    if refusal is None:
        logger.error("%s: an answer could not be made", path, exc_info=error)
        return Broken()
    return refusal


async def _whole(protocol: HTTPProtocol, *, size: int) -> IO[bytes]:
    """The body, in memory or on disk; raises TooLarge, IncompleteBody."""
    try:
        async with asyncio.timeout(PATIENCE):
            if 0 < size <= _LARGE:
                body: IO[bytes] = io.BytesIO(await protocol())
            else:
                body = tempfile.SpooledTemporaryFile(_LARGE)  # noqa: SIM115 - it goes with the request
                ends = 0
                async for piece in protocol:
                    body.write(piece)
                    if body.tell() > _UPLOAD:
                        raise body_too_large()
                    ends += not piece
                # granian ends each body with an empty piece, and with two one that breaks off, or has trailers.
                if ends > 1:
                    raise IncompleteBody
    except TimeoutError as late:
        raise IncompleteBody from late
    if size and body.seek(0, io.SEEK_END) != size:
        raise IncompleteBody
    return body


async def _begun(protocol: HTTPProtocol, *, size: int) -> "_Arriving":
    """A large body of which something has come: who sends nothing takes no thread. Raises IncompleteBody."""
    pieces = aiter(protocol)
    try:
        async with asyncio.timeout(PATIENCE):
            return _Arriving(pieces, first=await anext(pieces), size=size)
    except (TimeoutError, StopAsyncIteration) as late:
        raise IncompleteBody from late


class _Arriving(io.RawIOBase):
    """A body of `size` bytes on its way, for a thread to read; one that stops coming raises OSError."""

    def __init__(self, pieces: AsyncIterator[bytes], *, first: bytes, size: int) -> None:
        self._pieces, self._size, self._missing = pieces, size, size - len(first)
        self._loop = asyncio.get_running_loop()
        self._piece = memoryview(first)
        self._began = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # A body that breaks off may end with empty pieces.
        while not self._piece and self._missing:
            self._piece = memoryview(asyncio.run_coroutine_threadsafe(self._next(), self._loop).result())
            self._missing -= len(self._piece)
        count = min(len(buffer), len(self._piece))
        buffer[:count], self._piece = self._piece[:count], self._piece[count:]
        return count

    async def _next(self) -> bytes:
        # Until somebody reads, it is we who are slow.
        self._began = self._began or self._loop.time()
        arrived = self._size - self._missing
        try:
            async with asyncio.timeout_at(self._began + PATIENCE + arrived / LEAST_RATE):
                return await anext(self._pieces)
        except (ProtocolClosed, StopAsyncIteration) as gone:
            message = "the client has gone"
            raise ConnectionError(message) from gone


async def _answer(
    protocol: HTTPProtocol, environ: dict[str, Any], *, pool: ThreadPoolExecutor, is_arriving: bool = False
) -> None:
    loop = asyncio.get_running_loop()
    promise: asyncio.Future[_Response] = loop.create_future()

    def tell(outcome: _Response | Exception) -> None:
        # A loop that is closed has nobody to tell.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_keep, promise, outcome)

    late = loop.call_later(DEADLINE, _keep, promise, TooLong())

    def work_off() -> None:
        if is_arriving:
            # From here on it may take as long as it comes.
            loop.call_soon_threadsafe(late.cancel)
        _work_off(environ, tell, promise.done)

    pool.submit(work_off)
    try:
        (status, headers), content, rest = await promise
    finally:
        late.cancel()
    if rest is None:
        protocol.response_bytes(status, headers, content)
        return
    # A stream sent piece by piece would wait in memory for whoever reads slowly: granian's channel has no end.
    file = await loop.run_in_executor(_downloads, _kept, rest)
    # By then the server has opened it for itself.
    loop.call_later(PATIENCE, file.close)
    with suppress(ProtocolError):
        protocol.response_file(status, headers, f"/dev/fd/{file.fileno()}")


def _work_off(
    environ: dict[str, Any], tell: Callable[[_Response | Exception], None], is_over: Callable[[], bool]
) -> None:
    """Get Django's answer and tell it, or leave it at the desk."""
    later: together.Later | None = environ.get(together.LATER)
    if later is not None:
        _desk.arrive(later)
    try:
        # What nobody waits for any more is not begun.
        if not is_over():
            response = _respond(environ)
            if later is not None and later.is_left(response[0][0]):
                _desk.leave(later, partial(_complete, tell, response[0], later), is_over)
            else:
                tell(response)
    except Exception as error:  # noqa: BLE001
        tell(error)
    finally:
        # Whoever still holds the request: its body is not needed any more.
        environ["wsgi.input"].close()


def _complete(
    tell: Callable[[_Response | Exception], None],
    head: _Head,
    later: together.Later,
    outcome: bytes | Exception,
) -> None:
    """Tell an answer whose content was made after its head, or why there is none."""
    status, headers = head
    if isinstance(outcome, Exception):
        refusal = _refusal_of(outcome, path=later.path)
        REFUSALS.labels(refusal.status).inc()
        status, outcome = refusal.status, _said(refusal, path=later.path)
        headers = [*headers, *retry_headers(refusal).items()]
    kept = [header for header in headers if header[0] != "Content-Length"]
    later.count(status)
    tell(((status, [*kept, ("Content-Length", str(len(outcome)))]), outcome, None))


def _keep(promise: asyncio.Future[_Response], outcome: _Response | Exception) -> None:
    if promise.done():
        return
    if isinstance(outcome, Exception):
        promise.set_exception(outcome)
    else:
        promise.set_result(outcome)


def _respond(environ: dict[str, Any]) -> _Response:
    """Django's answer."""
    heads: list[_Head] = []

    def start(status: str, headers: list[tuple[str, str]], _error: Any = None, /) -> Any:
        heads.append((int(status[:3]), headers))

    response: Any = _handler(environ, start)
    if response.streaming and int(response.get("Content-Length", _LARGE)) >= _LARGE:
        response.block_size = 64 * 1024
        return heads[0], b"", response
    try:
        return heads[0], b"".join(response), None
    finally:
        response.close()
        _untie(response)


def _kept(response: Any) -> IO[bytes]:
    """A file of what the response streams, for the server to read at the client's pace; without a name, it goes
    with the process."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever asked closes it
    try:
        file.writelines(response)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    finally:
        response.close()
    return file


def _untie(response: Any) -> None:
    """Take apart the circles in which REST framework ties a request, its view and its answer.

    Otherwise each body, as it came and as it was answered, would wait for the garbage collector.
    """
    context: dict[str, Any] = getattr(response, "renderer_context", None) or {}
    if "request" in context:
        for tied in (context["request"]._request, context["view"]):
            vars(tied).clear()
        context["request"].parser_context.clear()
    context.clear()


def _refuse(protocol: HTTPProtocol, refusal: TitanicError, *, path: str) -> None:
    REFUSALS.labels(refusal.status).inc()
    headers = [("Content-Type", "application/json"), ("Connection", "close"), *retry_headers(refusal).items()]
    protocol.response_bytes(refusal.status, headers, _said(refusal, path=path))


def _said(refusal: TitanicError, *, path: str) -> bytes:
    return json.dumps(body_at(path, refusal)).encode()


def _environ(scope: Scope) -> dict[str, Any]:
    host, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        # WSGI's text is bytes, each one a letter.
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string.encode().decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    headers = scope.headers.items()
    # What is not ASCII is found among the names alone; what reads it must see that something was sent.
    unreadable = set(scope.headers.keys()).difference(name for name, _value in headers)
    for name, value in (*headers, *((name, "\x85") for name in unreadable)):
        # With an underscore it could pass for another.
        if "_" in name:
            continue
        key = name.replace("-", "_").upper()
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        environ[key] = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{value}" if key in environ else value
    return environ


# Whoever asks first does not wait for the file; why it cannot be had is told to those who ask.
_work.submit(scorer.current)

# A batch makes tens of thousands of objects, none of them in a circle by now: to look for some after every 700 of them
# took a tenth of its time. What is there already, all views among it, stays, and is not looked at again.
resolve("/")
gc.freeze()
gc.set_threshold(50_000, 20, 20)
# The loop's thread must not wait long among busy ones: with three threads and this, batches are a third faster than
# with four and Python's 5 ms.
sys.setswitchinterval(0.0005)
