"""The product's own web server, on a test's database."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
from django.conf import settings
from django.db import connection

from titanic_site.runtime import embedded, up


@dataclass
class Web:
    """A running server of two processes."""

    process: subprocess.Popen[bytes]
    port: int
    token: str
    log: Path

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Token {self.token}"}

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=self.headers, timeout=30)

    def begin(self, path: str, *, size: int | None = None, body: bytes = b"", **headers: str) -> socket.socket:
        """Send the head of a request, and as much of its body as is given; of no size, it is chunked."""
        length = "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}"
        given = {"Content-Type": "application/json", **self.headers, **headers}
        lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", length, *(f"{k}: {v}" for k, v in given.items()), "", ""]
        talk = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        talk.sendall("\r\n".join(lines).encode() + body)
        return talk

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def is_up(self) -> bool:
        try:
            with self.client() as client:
                return client.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def serving(token: str, *, log: Path) -> Iterator[Web]:
    """Started as `up` starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("wb") as out:
        process = subprocess.Popen(
            _command(port), env=environment(), cwd=settings.BASE_DIR, stdout=out, stderr=subprocess.STDOUT
        )
    web = Web(process, port, token, log)
    try:
        deadline = time.monotonic() + 60
        while not web.is_up():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield web
    finally:
        process.terminate()
        process.wait(30)


def answer(talk: socket.socket) -> tuple[int, bytes]:
    """The status and the body that came; 0 where nothing came."""
    with talk, talk.makefile("rb") as heard:
        status = int(heard.readline()[9:12] or 0)
        if not status:
            return 0, b""
        headers = dict(line.rstrip().lower().split(b": ", 1) for line in iter(heard.readline, b"\r\n") if line)
        return status, heard.read(int(headers.get(b"content-length", 0)))


def _command(port: int) -> list[str]:
    (web,) = (program for stage in up.programs() for program in stage if program.name == "web")
    command = list(web.command)
    command[command.index("--port") + 1] = str(port)
    return command


def environment() -> dict[str, str]:
    """The variables of a process on this test's database."""
    assert not connection.in_atomic_block, "Processes see what is committed: mark the test django_db(transaction=True)."
    host = quote(connection.settings_dict["HOST"], safe="")
    return {
        **os.environ,
        "DATABASE_URL": f"postgres://titanic@{host}/{connection.settings_dict['NAME']}",
        "REDIS_URL": embedded.Layout(settings.HOME).redis_url,
        "SECRET_KEY": settings.SECRET_KEY,
    }
