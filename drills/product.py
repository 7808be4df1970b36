"""A whole product in a home of its own, and its processes by what they do."""

import json
import os
import secrets
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import django
import psutil
from django.core.management import call_command
from django.db import connections

from benchmarks.product import SETTINGS, free_port
from drills.link import Link
from titanic_site.layout import Layout
from titanic_site.runtime import embedded

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "ingestion/sample/sample.csv"
#: What a home on a memory file system may hold.
HOME_MEGABYTES = 1_024
_START_SECONDS = 120


class Deployment(Enum):
    """How the product runs, for faults that need it so."""

    EMBEDDED = "with servers of its own"
    REMOTE = "with servers over the network"
    OWN_CLOCK = "with a clock that can be set"


@dataclass
class Product:
    """The product in a home; `up` is its process."""

    home: Path
    port: int
    up: subprocess.Popen[bytes]
    #: Whether the home is a file system of its own, which can be filled.
    is_alone_on_disk: bool = False
    deployment: Deployment = Deployment.EMBEDDED
    #: The ways to PostgreSQL and Valkey, of a remote deployment.
    links: dict[str, Link] = field(default_factory=dict)
    _environment: dict[str, str] = field(default_factory=dict)
    #: What runs beside `up`, for its deployment.
    _beside: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def start(cls, home: Path, *, is_alone_on_disk: bool) -> "Product":
        """Start `manage.py up` and return when it is ready."""
        product = cls(home, int(os.environ["PORT"]), _start_up({}), is_alone_on_disk)
        product.wait_until_ready()
        return product

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def layout(self) -> Layout:
        return Layout(self.home)

    @property
    def token(self) -> str:
        return str(json.loads((self.home / "credentials.json").read_text())["token"])

    def wait_until_ready(self) -> None:
        """Return when `up` says READY."""
        end = time.monotonic() + _START_SECONDS
        while "READY" not in _log().read_text():
            if self.up.poll() is not None or time.monotonic() > end:
                raise SystemExit(_log().read_text())
            time.sleep(0.1)

    def restart(self) -> None:
        """Start `up` again after it was killed; the processes it had end by themselves first."""
        self.up.wait()
        self.up = _start_up(self._environment)
        self.wait_until_ready()

    def deploy(self, deployment: Deployment) -> None:
        """Start `up` anew for this deployment, unless it runs so already."""
        if deployment == self.deployment:
            return
        self.stop()
        self.deployment, self._environment = deployment, {}
        if deployment == Deployment.REMOTE:
            services = self._beside.enter_context(embedded.in_use(self.layout))
            self.links = {
                "PostgreSQL": Link(services.postgres.sockets / ".s.PGSQL.5432"),
                "Valkey": Link(services.valkey.sockets / "valkey.sock"),
            }
            self._environment = {
                "DATABASE_URL": f"postgres://titanic@127.0.0.1:{self.links['PostgreSQL'].port}/titanic",
                "REDIS_URL": f"redis://127.0.0.1:{self.links['Valkey'].port}/0",
                "SECRET_KEY": secrets.token_urlsafe(50),
            }
        elif deployment == Deployment.OWN_CLOCK:
            library = self.home.with_name("clock.so")
            source = Path(__file__).with_name("clock.c")
            subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
            self.set_clock(0)
            self._environment = {
                "LD_PRELOAD": str(library), "DRILL_CLOCK": str(self._clock),
            }  # fmt: skip
        self.up = _start_up(self._environment)
        self.wait_until_ready()

    def set_clock(self, seconds: int) -> None:
        """Set the clock of all processes, PostgreSQL's and Valkey's too, to the machine's and so many seconds."""
        with self._clock.open("r+b" if self._clock.exists() else "wb", buffering=0) as file:
            # In one piece: the processes have it mapped.
            file.write(struct.pack("l", seconds))

    @property
    def _clock(self) -> Path:
        return self.home.with_name("clock")

    def processes(self, *words: str) -> list[psutil.Process]:
        """Return the programs of `up` whose command has one of these words, without their children."""
        children = psutil.Process(self.up.pid).children()
        return [child for child in children if any(word in child.cmdline() for word in words)]

    def web_workers(self) -> list[psutil.Process]:
        """Return the processes that answer requests."""
        (web,) = self.processes("granian")
        return [child for child in web.children() if "resource_tracker" not in " ".join(child.cmdline())]

    def postgres(self) -> list[psutil.Process]:
        """Return PostgreSQL's processes, the one that starts the others first."""
        return tree(int((self.home / "postgres/data/postmaster.pid").read_text().split()[0]))

    def valkey(self) -> list[psutil.Process]:
        """Return Valkey's process."""
        data = str((self.home / "valkey/data").resolve())
        return [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == data]

    def stop(self) -> None:
        """Stop `up` as Ctrl-C does."""
        self.up.terminate()
        self.up.wait(120)
        self._beside.close()


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all that it started."""
    top = psutil.Process(pid)
    return [top, *top.children(recursive=True)]


@contextmanager
def running(*, on_its_own_disk: bool = True) -> Iterator[Product]:
    """Prepare a home with a small champion, and run the product in it."""
    with _new_home(on_its_own_disk=on_its_own_disk) as (home, is_alone_on_disk):
        os.environ.update(dict.fromkeys(SETTINGS, ""))
        os.environ.update(
            TITANIC_HOME=str(home), PORT=str(free_port()), JOB_LEASE_SECONDS="10",
            DJANGO_SETTINGS_MODULE="titanic_site.settings",
        )  # fmt: skip
        django.setup()
        with embedded.in_use(Layout(home)):
            call_command("migrate", verbosity=0)
            call_command("ingest", str(SAMPLE), verbosity=0)
            call_command("build_features", verbosity=0)
            call_command("train", algorithm="logistic_regression", candidates=0, verbosity=0)
            connections.close_all()
        product = Product.start(home, is_alone_on_disk=is_alone_on_disk)
        try:
            yield product
        finally:
            connections.close_all()
            product.stop()


def _start_up(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "manage.py", "up"]
    with _log().open("wb") as out:
        return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stdout=out, stderr=out)


def _log() -> Path:
    # Beside the home: a full disk must not take the drill's own words.
    return Path(os.environ["TITANIC_HOME"]).with_suffix(".log")


@contextmanager
def _new_home(*, on_its_own_disk: bool) -> Iterator[tuple[Path, bool]]:
    """Make a home; on a memory file system of its own if that is wanted and this user may mount one."""
    with tempfile.TemporaryDirectory(prefix="titanic-drill-") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={HOME_MEGABYTES}m,mode=755", "drill", str(home)]
        is_mounted = False
        with suppress(FileNotFoundError):
            if on_its_own_disk:
                is_mounted = not subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode
        try:
            yield home, is_mounted
        finally:
            if is_mounted:
                subprocess.run(["umount", "--lazy", str(home)], check=True)
