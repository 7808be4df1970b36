"""A started product: `manage.py up` on a bare home, with its own servers, workers and champion."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from django.conf import settings


@dataclass(frozen=True)
class Running:
    """A running product: its process, its home, and a client with the token."""

    process: subprocess.Popen[str]
    home: Path
    port: int
    url: str
    api: httpx.Client

    def wait(self, path: str, holds: Callable[[Any], bool], *, seconds: float = 60) -> Any:
        """Return what the API answers as soon as it holds."""
        deadline = time.monotonic() + seconds
        while True:
            answer = self.api.get(path).json()
            if holds(answer):
                return answer
            assert time.monotonic() < deadline, answer
            time.sleep(0.3)

    def finish(self, path: str) -> Any:
        """Return a job that is over."""
        return self.wait(path, lambda job: job["state"] not in ("queued", "running"))


@contextmanager
def started(environment: Mapping[str, str]) -> Iterator[Running]:
    """Start `up` with these settings, and stop it as Ctrl-C does: nothing of it is left."""
    # Not below pytest's own folder: another run would take back the permission to walk through it.
    home = Path(tempfile.mkdtemp(prefix="titanic-life-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = home / "up.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=settings.BASE_DIR,
            env={**os.environ, "TITANIC_HOME": str(home), "PORT": str(port), "ALLOWED_HOSTS": "", **environment},
            stdout=out,
            stderr=out,
            text=True,
        )
    try:
        until(lambda: "READY" in log.read_text() or process.poll() is not None, seconds=290)
        assert "READY" in log.read_text(), log.read_text()[-4000:]
        token = json.loads((home / "credentials.json").read_text())["token"]
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, headers={"Authorization": f"Token {token}"}, timeout=30) as api:
            yield Running(process, home, port, url, api)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    left = [p for p in psutil.process_iter(["cmdline"]) if str(home) in " ".join(p.info["cmdline"] or [])]
    assert left == []
    shutil.rmtree(home)


def until(holds: Callable[[], bool], *, seconds: float) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
