"""The home that the benchmarks of a run share, with its own servers, and the whole product running in it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import django
import psutil
from django.core.management import call_command
from django.db import connections

from titanic_site.runtime import embedded

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "ingestion/sample/sample.csv"
#: Every setting the environment may have.
SETTINGS = re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), flags=re.MULTILINE)
_at_the_end = ExitStack()


@contextmanager
def home() -> Iterator[None]:
    """A new, migrated home for this process and its children, whatever the environment says."""
    with tempfile.TemporaryDirectory(prefix="titanic-bench-") as folder:
        os.environ.update(dict.fromkeys(SETTINGS, ""))
        os.environ.update(
            TITANIC_HOME=folder,
            PORT=str(free_port()),
            ALLOWED_HOSTS="testserver,127.0.0.1",
            DJANGO_SETTINGS_MODULE="benchmarks.settings",
        )
        django.setup()
        with embedded.in_use(embedded.Layout(Path(folder))):
            call_command("migrate", verbosity=0)
            with _at_the_end:
                yield
            connections.close_all()


@dataclass(frozen=True)
class Product:
    """The running product: its port, a token, and its processes."""

    port: int
    token: str
    process: subprocess.Popen[bytes]

    @property
    def headers(self) -> dict[str, str]:
        """What its API wants to see."""
        return {"Authorization": f"Token {self.token}"}

    def memory(self, word: str, *, kind: Literal["rss", "pss"]) -> float:
        """Memory (MB) of the largest child of the processes whose command has this word."""
        sizes = []
        for parent in psutil.Process(self.process.pid).children(recursive=True):
            # Some may end meanwhile.
            with suppress(psutil.NoSuchProcess):
                if word in " ".join(parent.cmdline()):
                    sizes += [getattr(child.memory_full_info(), kind) for child in parent.children()]
        return float(max(sizes)) / 1e6


@cache
def running(*, is_quick: bool) -> Product:
    """Start `manage.py up` in the home, once; it runs until the home ends."""
    if is_quick:
        # The first start's own training takes half a minute.
        call_command("ingest", str(SAMPLE))
        call_command("build_features")
        call_command("train", algorithm="logistic_regression", candidates=0)
    folder = Path(os.environ["TITANIC_HOME"])
    log = folder / "up.log"
    with log.open("w") as out:
        # A file's drift report is made by the workers that score: with alibi-detect, 300 MB of theirs would be its.
        environment = os.environ | {"DRIFT_BACKEND": "scipy"}
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up"], cwd=ROOT, stdout=out, stderr=out, env=environment
        )
    _at_the_end.callback(process.wait, 120)
    _at_the_end.callback(process.send_signal, signal.SIGINT)
    while "READY" not in log.read_text():
        if process.poll() is not None:
            raise SystemExit(log.read_text())
        time.sleep(0.2)
    token = json.loads((folder / "credentials.json").read_text())["token"]
    return Product(int(os.environ["PORT"]), token, process)


def wait_for_drain() -> None:
    """Wait until what was predicted is in Postgres: its way there would cost the next measurement."""
    from predictions import log

    while log.backlog():
        time.sleep(0.2)


@contextmanager
def server(*command: str, port: int) -> Iterator[None]:
    """Run a Python module's server while the block runs, from when it listens."""
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while not _listens(port):
            assert process.poll() is None, command
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(60)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return not probe.connect_ex(("127.0.0.1", port))
