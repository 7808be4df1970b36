"""The faults: each begins when its body is entered and is over when it is left."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass

import psutil
import psycopg2

from drills.product import ROOT, Deployment, Product, tree

Processes = Callable[[Product], Sequence[psutil.Process]]


@dataclass(frozen=True)
class Fault:
    """What is done to the product; `lasts` where it takes the drill's time, otherwise it is over at once."""

    name: str
    apply: Callable[[Product], AbstractContextManager[None]]
    lasts: bool = False
    needs_own_disk: bool = False
    deployment: Deployment = Deployment.EMBEDDED

    def lacks(self, product: Product) -> str | None:
        """Return what this machine lacks for it."""
        if self.needs_own_disk and not product.is_alone_on_disk:
            return "no file system can be mounted here"
        if self.deployment == Deployment.OWN_CLOCK and (sys.platform != "linux" or not shutil.which("cc")):
            return "no C compiler (Debian: apt install gcc)"
        return None


@contextmanager
def nothing(_product: Product) -> Iterator[None]:
    """Do nothing: what traffic alone looks like."""
    yield


def kill(processes: Processes) -> Callable[[Product], AbstractContextManager[None]]:
    """Kill processes as the kernel does when memory ends."""

    @contextmanager
    def apply(product: Product) -> Iterator[None]:
        for process in processes(product):
            process.kill()
        yield

    return apply


def freeze(processes: Processes) -> Callable[[Product], AbstractContextManager[None]]:
    """Stop processes: their kernel goes on taking connections and acknowledging what is sent."""

    @contextmanager
    def apply(product: Product) -> Iterator[None]:
        frozen = list(processes(product))
        for process in frozen:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in frozen:
                # It may have been killed and replaced meanwhile.
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGCONT)

    return apply


@contextmanager
def kill_up(product: Product) -> Iterator[None]:
    """Kill `up`: its programs end by themselves, and whoever looks after it starts it again."""
    children = tree(product.up.pid)[1:]
    servers = [*product.postgres(), *product.valkey()]
    product.up.kill()
    yield
    psutil.wait_procs([*children, *servers], timeout=60)
    product.restart()


@contextmanager
def restart(_product: Product) -> Iterator[None]:
    """Have `up` stop and start again."""
    subprocess.run([sys.executable, "manage.py", "up", "--restart"], cwd=ROOT, check=True)
    yield


@contextmanager
def full_disk(product: Product) -> Iterator[None]:
    """Fill the disk of the home to the last byte."""
    ballast = product.home / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        file.write(b"\0" * shutil.disk_usage(product.home).free)
        while True:
            file.write(b"\0" * 512)
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def every_connection_taken(product: Product) -> Iterator[None]:
    """Take every connection that PostgreSQL has left."""
    taken = []
    with suppress(psycopg2.OperationalError):
        while True:
            taken.append(psycopg2.connect(product.layout.database_url))
    try:
        yield
    finally:
        for connection in taken:
            connection.close()


def black_hole(server: str) -> Callable[[Product], AbstractContextManager[None]]:
    """Let packets between the product and a server vanish: no connection breaks, none is refused."""
    return lambda product: product.links[server].cut()


def set_clock(seconds: int) -> Callable[[Product], AbstractContextManager[None]]:
    """Set the machine's clock, and in the end right again: two steps."""

    @contextmanager
    def apply(product: Product) -> Iterator[None]:
        product.set_clock(seconds)
        try:
            yield
        finally:
            product.set_clock(0)

    return apply


def _workers(product: Product) -> list[psutil.Process]:
    return [process for top in product.processes("worker") for process in tree(top.pid)]


def _workers_and_scheduler(product: Product) -> list[psutil.Process]:
    return [*_workers(product), *product.processes("beat")]


#: The order of the drill.
FAULTS = (
    Fault("none", nothing),
    Fault("kill -9 a web process", kill(lambda product: product.web_workers()[:1])),
    Fault("kill -9 the web server", kill(lambda product: product.processes("granian"))),
    Fault("kill -9 PostgreSQL", kill(lambda product: product.postgres()[:1])),
    Fault("kill -9 Valkey", kill(Product.valkey)),
    Fault("kill -9 the workers", kill(lambda product: product.processes("worker"))),
    Fault("kill -9 the scheduler", kill(lambda product: product.processes("beat"))),
    Fault("SIGSTOP PostgreSQL", freeze(Product.postgres), lasts=True),
    Fault("SIGSTOP Valkey", freeze(Product.valkey), lasts=True),
    Fault("SIGSTOP a web process", freeze(lambda product: product.web_workers()[:1]), lasts=True),
    Fault("SIGSTOP workers and scheduler", freeze(_workers_and_scheduler), lasts=True),
    Fault("PostgreSQL's connections taken", every_connection_taken, lasts=True),
    Fault("disk full", full_disk, lasts=True, needs_own_disk=True),
    Fault("kill -9 up, then start it", kill_up),
    Fault("make restart", restart),
    Fault("network to PostgreSQL a black hole", black_hole("PostgreSQL"), lasts=True, deployment=Deployment.REMOTE),
    Fault("network to Valkey a black hole", black_hole("Valkey"), lasts=True, deployment=Deployment.REMOTE),
    Fault("clock an hour ahead, then right", set_clock(3600), lasts=True, deployment=Deployment.OWN_CLOCK),
    Fault("clock an hour behind, then right", set_clock(-3600), lasts=True, deployment=Deployment.OWN_CLOCK),
)
