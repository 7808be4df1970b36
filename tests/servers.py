"""Small real servers on loopback that answer as told, badly for the most part."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import trustme

Answer = Callable[["_Handler"], None]


@dataclass
class Server:
    """What it was asked, and what it answers: each answer once, the last one for ever."""

    address: str
    is_stopping: threading.Event
    answers: list[Answer] = field(default_factory=list)
    asked: list[tuple[str, str, Message]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def next_answer(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    @property
    def methods(self) -> list[str]:
        return [method for method, _path, _headers in self.asked]


def reply(status: int, body: bytes = b"", *, length: int | None = None, **headers: str) -> Answer:
    """An answer in one go; the length may be a lie."""

    def answer(handler: "_Handler") -> None:
        handler.begin(status, length=len(body) if length is None else length, **headers)
        if handler.command != "HEAD":
            handler.wfile.write(body)

    return answer


def hang(handler: "_Handler") -> None:
    """Say nothing until the server stops."""
    handler.server_state.is_stopping.wait(20)


def drip(body: bytes, *, seconds: float, length: int | None = None) -> Answer:
    """A byte now and then; the length may be a lie."""

    def answer(handler: "_Handler") -> None:
        handler.begin(200, length=len(body) if length is None else length)
        for byte in body:
            handler.wfile.write(bytes([byte]))
            handler.server_state.is_stopping.wait(seconds)

    return answer


def hang_after(body: bytes) -> Answer:
    """Half an answer, then silence."""

    def answer(handler: "_Handler") -> None:
        handler.begin(200, length=2 * len(body))
        handler.wfile.write(body)
        hang(handler)

    return answer


class _Handler(BaseHTTPRequestHandler):
    server_state: Server

    def begin(self, status: int, *, length: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length), "Connection": "close", **headers}.items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def do_GET(self) -> None:
        self.server_state.asked.append((self.command, self.path, self.headers))
        self.server_state.next_answer()(self)

    do_HEAD = do_GET  # noqa: N815 - the server's own name

    def do_POST(self) -> None:
        self.server_state.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.do_GET()

    def log_message(self, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, *args: Any) -> None:
        """The other side hangs up: that is what is tested."""


@contextmanager
def serving(*, authority: trustme.CA | None = None, name: str = "127.0.0.1") -> Iterator[Server]:
    """A server on a free port, over https where an authority signs for `name`."""

    class Handler(_Handler):
        server_state: Server

    with _Server(("127.0.0.1", 0), Handler) as httpd:
        scheme = "http"
        if authority:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert(name).configure_cert(context)
            httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
            scheme = "https"
        state = Server(f"{scheme}://127.0.0.1:{httpd.server_port}", threading.Event())
        Handler.server_state = state
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            state.is_stopping.set()
            httpd.shutdown()
            thread.join()
