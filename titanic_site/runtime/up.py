"""The product on one machine: services, schema, champion, then web, workers and scheduler, or one of these parts."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener
from zlib import crc32

from django.conf import settings
from django.core.management import call_command
from django.db import connections
from kombu.exceptions import OperationalError as BrokerAway

from core import heartbeat, redis
from core.advisory_locks import AdvisoryLock
from titanic_site import env, tasks
from titanic_site.checks import made_by_another_version
from titanic_site.runtime import embedded, start_link
from titanic_site.runtime.last_user_guard import end_with_parent
from titanic_site.runtime.server import take_lock
from titanic_site.runtime.supervisor import Program, Supervisor

_LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - asked for by the person who sets HOST
#: Worker -> its queues and how many processes. Training has memory to give back after each run.
WORKERS = {
    "fast": (("fast",), ("-c", "1")),
    "work": (("default", "scoring"), ("-c", "2")),
    "training": (("training",), ("-c", "1", "--max-tasks-per-child", "1")),
}
#: What a host may run, all or some of it.
PARTS = ("web", "workers", "scheduler")
_STOP_SECONDS = 120
_COMPLAINT_SECONDS = 60
_FROZEN_SECONDS = 2

#: Threads of a web process that run Django (decision 0008).
BLOCKING_THREADS = "2"

Echo = Callable[[str], object]


class CannotRunError(RuntimeError):
    """What keeps `up` from running, and the remedy, in one sentence."""


def run(*, echo: Echo, parts: Collection[str] = PARTS) -> int:
    """Run these parts until told to stop and return the exit code; SIGUSR1 (`restart`) stops it and starts it again."""
    restart_requested = threading.Event()

    def request_restart(_number: int, _frame: object) -> None:
        restart_requested.set()
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGUSR1, request_restart)
    exit_code = 0
    try:
        exit_code = _run_once(echo=echo, parts=parts)
    except KeyboardInterrupt:
        if not restart_requested.is_set():
            raise
    if restart_requested.is_set():
        # The same process id for whoever looks after it. Without what came from `.env`, which is read again.
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], env.inherited)  # noqa: S606 - our own command
    return exit_code


def _run_once(*, echo: Echo, parts: Collection[str]) -> int:
    if settings.IS_EMBEDDED and set(parts) != set(PARTS):
        message = "The parts of one product on several hosts share servers: set DATABASE_URL and REDIS_URL."
        raise CannotRunError(message)
    with (
        _interrupt_on_sigterm(),
        _exclusive_home(),
        _start_page() if "web" in parts else nullcontext() as start_page,
        _services(echo=echo) as services,
    ):
        for old_counters in settings.METRICS_DIR.glob("*.db"):
            old_counters.unlink()
        echo("Bringing the database up to date")
        for error in made_by_another_version(databases=["default"]):
            raise CannotRunError(error.msg)
        with _alone_on_the_database():
            call_command("migrate", interactive=False, verbosity=0)
            call_command("bootstrap")
        connections.close_all()
        echo(f"Starting {', '.join(parts)}")
        own_queues = [own_queue(name) for name in WORKERS] if "workers" in parts else []
        # With servers of its own all workers are this home's. The last run's heartbeats prove nothing.
        queues = [*own_queues, *(settings.QUEUES if settings.IS_EMBEDDED else ())]
        if queues:
            with suppress(*redis.RedisUnavailable):
                redis.client().delete(*(f"heartbeat:{queue}" for queue in queues))
        # Every queue has a heartbeat as soon as its worker is there, not at the scheduler's next round.
        request_heartbeats = HeartbeatRequests(*own_queues, *settings.QUEUES)
        request_heartbeats()
        readiness = _Readiness(echo=echo, start_page=start_page, queues=queues)
        every_second: list[Callable[[], object]] = [readiness.check, _allocate_metrics, request_heartbeats]
        if services is not None:
            every_second.append(partial(_maintain_services, services, echo=echo))
        return Supervisor(
            stages=programs(parts),
            directory=settings.BASE_DIR,
            echo=echo,
            every_second=every_second,
            # Later on what keeps a program from running, such as a full disk, will pass.
            is_starting=lambda: not readiness.is_announced,
        ).run()


def stop() -> bool:
    """Stop a running `up` of this home and wait for it; return False when there is none."""
    return _end(signal.SIGTERM)


def restart() -> bool:
    """Have a running `up` of this home start again, wait until it has stopped; return False when there is none."""
    return _end(signal.SIGUSR1)


def _end(number: signal.Signals) -> bool:
    lock = _lock()
    if lock is not None:
        os.close(lock)
        return False
    os.kill(int(_pid_file().read_text()), number)
    end = time.monotonic() + _STOP_SECONDS
    while (lock := _lock()) is None:
        if time.monotonic() > end:
            message = f"It has not stopped within {_STOP_SECONDS} s: see {settings.HOME / 'logs'}."
            raise CannotRunError(message)
        time.sleep(0.1)
    os.close(lock)
    return True


def own_queue(worker: str) -> str:
    """Return the queue that this home's worker alone takes: on others a worker of another host may answer."""
    home = crc32(os.fsencode(embedded.Layout(settings.HOME).root))
    return f"{worker}@{os.uname().nodename}-{home:08x}"


def programs(parts: Collection[str] = PARTS) -> list[list[Program]]:
    """Return the parts' programs in the order they are stopped: nothing new comes in while the workers finish."""
    celery = (sys.executable, "-m", "celery", "-q", "-A", "titanic_site")
    scheduler = Program(name="scheduler", command=(*celery, "beat"), stop_signals=((signal.SIGTERM, 5.0),))
    web = Program(
        name="web",
        command=(
            sys.executable, "-m", "granian", "--interface", "wsgi", "titanic_site.wsgi:application",
            "--host", settings.HOST, "--port", str(settings.PORT),
            "--workers", str(settings.WEB_WORKERS), "--blocking-threads", BLOCKING_THREADS,
            "--http", "1", "--no-ws", "--log-level", "warning",
            "--respawn-failed-workers", "--workers-kill-timeout", "15",
        ),
        stop_signals=((signal.SIGTERM, 20.0),),
    )  # fmt: skip
    workers = [
        Program(
            name=f"worker {name}",
            command=(
                *celery, "worker", "-Q", ",".join((*queues, own_queue(name))), "-n", f"{name}@%h", *options,
                "--without-gossip", "--without-mingle", "--without-heartbeat",
            ),
            # Runs in progress may end; then they are interrupted, and their rows say so.
            stop_signals=((signal.SIGTERM, 20.0), (signal.SIGQUIT, 5.0)),
            # Without the supervisor the services stop too: no run can finish.
            parent_death_signal=signal.SIGQUIT,
            is_hung=HangDetector(own_queue(name)),
        )
        for name, (queues, options) in WORKERS.items()
    ]  # fmt: skip
    stages = {"scheduler": [scheduler], "web": [web], "workers": workers}
    return [stage for part, stage in stages.items() if part in parts]


class HeartbeatRequests:
    """Requests a heartbeat of each queue without a recent one: a schedule that is switched off is no hung worker."""

    def __init__(self, *queues: str) -> None:
        self._queues = queues
        self._next_at = 0.0

    def __call__(self) -> None:
        """Look at most every 20 seconds or so, and send what is needed."""
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + heartbeat.SILENCE_LIMIT / 4
        with suppress(BrokerAway, *redis.RedisUnavailable):
            for queue, age in heartbeat.ages(*self._queues).items():
                # One from the future was written before the clock was set back.
                if age is None or not 0 <= age < heartbeat.SILENCE_LIMIT / 2:
                    tasks.heartbeat.apply_async(
                        kwargs={"queue": queue}, queue=queue, expires=heartbeat.SILENCE_LIMIT, retry=False
                    )


class HangDetector:
    """Tells whether a worker has not answered on its own queue for too long; a new one gets the time to begin.

    A clock that was set forward makes no heartbeat old: what counts is how long (monotonic) none has been new.
    """

    def __init__(self, queue: str) -> None:
        self._key = f"heartbeat:{queue}"
        self._heartbeat: object = None
        self._changed_at = time.monotonic()

    def __call__(self, started_at: float) -> bool:
        """Take the time the worker was started at."""
        try:
            last = redis.client().get(self._key)
        except redis.RedisUnavailable:
            # Nor can a worker write one.
            self._heartbeat = None
            return False
        if last != self._heartbeat:
            self._heartbeat, self._changed_at = last, time.monotonic()
        return time.monotonic() - max(self._changed_at, started_at) > heartbeat.SILENCE_LIMIT


@contextmanager
def _alone_on_the_database() -> Iterator[None]:
    """Let hosts that start at once bring the database up to date one after the other."""
    # A transaction of a connection of its own: a migration may end the default one's.
    with closing(connections.create_connection("default")) as own, own.cursor() as cursor:
        own.set_autocommit(False)
        while True:
            # A statement that waits for the lock would hold up CREATE INDEX CONCURRENTLY.
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [AdvisoryLock.START.value])
            if cursor.fetchone()[0]:
                break
            own.rollback()
            time.sleep(1)
        yield


@contextmanager
def _start_page() -> Iterator[subprocess.Popen[bytes]]:
    """Serve the page that says how far the start is, at most until the body ends."""
    _check_port()
    command = (sys.executable, "-m", "titanic_site.runtime.start_page", settings.HOST, str(settings.PORT))
    page = subprocess.Popen(  # noqa: S603 - no shell, and a program of this installation
        command,
        stdin=subprocess.DEVNULL,
        cwd=settings.BASE_DIR,
        process_group=0,
        preexec_fn=partial(end_with_parent, signal.SIGKILL),  # noqa: PLW1509 - we run no threads
    )
    try:
        yield page
    finally:
        page.kill()
        page.wait()


@contextmanager
def _services(*, echo: Echo) -> Iterator[embedded.Services | None]:
    """Run the embedded servers, if the installation has no others."""
    if not settings.IS_EMBEDDED:
        yield None
        return
    echo("Starting PostgreSQL and Valkey")
    try:
        with embedded.in_use(embedded.Layout(settings.HOME)) as services:
            yield services
    except embedded.EmbeddedError as error:
        raise CannotRunError(str(error)) from error
    finally:
        connections.close_all()


def _maintain_services(services: embedded.Services, *, echo: Echo) -> None:
    for server in services.servers:
        server.rotate_log()
    if not services.are_answering():
        # One that runs and does not answer must not keep the programs from being restarted.
        services.start(patience=_FROZEN_SECONDS)
        echo("A database server had stopped and answers again")


def _allocate_metrics() -> None:
    """Allocate the blocks of the metrics' files, which begin as holes.

    The kernel kills a process (SIGBUS) that writes into a hole while the disk is full.
    """
    for path in settings.METRICS_DIR.glob("*.db"):
        with suppress(FileNotFoundError), path.open("r+b") as file:
            status = os.fstat(file.fileno())
            if status.st_blocks * 512 < status.st_size and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, status.st_size)


class _Readiness:
    """Prints READY, once, when this host's pages, services, champion and workers are there."""

    def __init__(self, *, echo: Echo, start_page: subprocess.Popen[bytes] | None, queues: Collection[str]) -> None:
        self._echo = echo
        self._start_page = start_page
        self._queues = queues
        self.is_announced = False
        self._complain_at = time.monotonic() + _COMPLAINT_SECONDS

    def check(self) -> None:
        if self.is_announced:
            return
        reason = self._what_is_missing()
        if reason is None and self._start_page is None:
            self.is_announced = True
            self._echo("READY")
            tell_systemd("READY=1")
        elif reason is None:
            host = settings.HOST
            link = start_link.path()
            connections.close_all()
            self.is_announced = True
            self._echo(f"READY {_address(host)}")
            tell_systemd("READY=1")
            if link:
                site = _address(_LOOPBACK_OF.get(host, host))
                if settings.SECURE_SSL_REDIRECT:
                    # Behind TLS the site's own name answers alone.
                    site = f"https://{settings.ALLOWED_HOSTS[0]}"
                self._echo(f"Sign in, once and within an hour: {site}{link}")
            path = settings.HOME / "credentials.json"
            if path.exists():
                self._echo(f"Admin: {json.loads(path.read_text())['username']}, the password is in {path}")
            if lacks_proxy():
                self._echo(
                    "No proxy in front of HOST: slow clients can hold the site up. Put one there, see deploy/nginx."
                )
        elif time.monotonic() > self._complain_at:
            self._complain_at = time.monotonic() + _COMPLAINT_SECONDS
            self._echo(f"Not ready yet: {reason}")

    def _what_is_missing(self) -> str | None:
        """Look for workers before the page /readyz: an unready page is an error in the log."""
        if self._start_page is None:
            return _missing_workers(self._queues)
        reason = _why_not_ok("/healthz")
        if reason is None:
            # Both listen until the web server answers.
            self._start_page.kill()
            self._start_page.wait()
        return reason or _missing_workers(self._queues) or _why_not_ok("/readyz")


def tell_systemd(state: str) -> None:
    """Send a state to the service manager, if one waits for it (sd_notify)."""
    if address := env.inherited.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            # The @ is how an abstract address is written.
            channel.sendto(state.encode(), address.replace("@", "\0", 1) if address.startswith("@") else address)


def lacks_proxy() -> bool:
    """Tell whether other machines reach the web server without a proxy that buffers slow clients' requests."""
    return settings.HOST not in env.LOOPBACK and not settings.TRUSTED_PROXIES


def _missing_workers(queues: Collection[str]) -> str | None:
    """Return for which of these queues a worker is missing."""
    with suppress(*redis.RedisUnavailable):
        if queues and (silent := heartbeat.silent_queues(*queues)):
            return f"no worker is available for: {', '.join(silent)}"
    return None


def _why_not_ok(path: str) -> str | None:
    """Return why a page of ours does not answer 200; None when it does."""
    host = settings.HOST
    url = _address(_LOOPBACK_OF.get(host, host)) + path
    try:
        # A proxy of the environment does not know this machine's loopback.
        with build_opener(ProxyHandler({})).open(url, timeout=2) as answer:
            return None if answer.status == 200 else f"{path} answers {answer.status}"  # noqa: PLR2004 - HTTP's OK
    except HTTPError as error:
        return f"{path} answers {error.code}: {error.read(500).decode(errors='replace')}"
    except OSError as error:
        return f"{path} does not answer ({error})"


def _address(host: str) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.PORT}"


@contextmanager
def _interrupt_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt, as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _exclusive_home() -> Iterator[None]:
    """Hold this home's lock; the kernel releases it however this process ends."""
    lock = _lock()
    if lock is None:
        message = f"It runs already in {settings.HOME}: stop it with make stop, or set TITANIC_HOME for a second one."
        raise CannotRunError(message)
    _pid_file().write_text(f"{os.getpid()}\n")
    try:
        yield
    finally:
        _pid_file().unlink(missing_ok=True)
        os.close(lock)


def _lock() -> int | None:
    return take_lock(settings.HOME / "up.lock")


def _pid_file() -> Path:
    return Path(settings.HOME / "up.pid")


def _check_port() -> None:
    """Raise CannotRunError before anything is started when the port cannot be listened on."""
    host, port = settings.HOST, settings.PORT
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"PORT {port} is in use: set PORT to a free one, such as PORT={port + 1}."
        else:
            message = (
                f"HOST {host} and PORT {port} cannot be listened on ({error.strerror}): set HOST and PORT to others."
            )
        raise CannotRunError(message) from error
