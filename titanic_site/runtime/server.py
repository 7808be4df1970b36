"""An embedded server: how it is started, waited for, and known to be running."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from titanic_site.runtime import last_user_guard

#: How long a server may take to start, after a crash with much to recover.
START_SECONDS = 120
_STEP_SECONDS = 0.02
_LOG_BYTES = 10 * 1024**2
_REMEDY = (
    "Correct what the log names and start again, or set DATABASE_URL and REDIS_URL to servers of yours. "
    "The data stays where it is."
)


class EmbeddedError(RuntimeError):
    """An embedded server does not run; the text names the log and the remedy."""


class Server(ABC):
    """One server out of a wheel: its data, its socket, and a lock that lives exactly as long as its processes."""

    title: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    #: A directory whose files the server writes without syncing them to the disk.
    fsync_directory: Path | None = None

    def __init__(self, *, data: Path, sockets: Path, log: Path) -> None:
        self.data = data
        self.sockets = sockets
        self.log = log

    @abstractmethod
    def is_answering(self) -> bool:
        """Tell whether a client is served right now."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Return the command line that runs the server in the foreground."""

    @abstractmethod
    def _prepare(self, *, lock: int) -> None:
        """Create what must be there before a start, and remove what must not; the server's lock is held."""

    def start(self, *, users: Path, patience: float = START_SECONDS) -> None:
        """Return when the server answers: start it, or wait some seconds for one that runs already."""
        end = time.monotonic() + patience
        is_ours = False
        while not self.is_answering():
            lock = self._take_lock()
            if lock is not None:
                with os.fdopen(lock, "rb"):
                    if is_ours or time.monotonic() > end:
                        raise self.failure("did not start")
                    self._launch(lock=lock, users=users)
                is_ours = True
            elif time.monotonic() > end:
                raise self.failure(f"does not answer since {patience:.0f} s")
            else:
                if not is_ours:
                    self._kill_orphans()
                time.sleep(_STEP_SECONDS)

    def rotate_log(self) -> None:
        """Copy a large log beside it and empty it; the server, which appends to it, need not know."""
        with suppress(OSError):
            if self.log.stat().st_size > _LOG_BYTES:
                shutil.copyfile(self.log, self.log.with_suffix(".old.log"))
                os.truncate(self.log, 0)

    def is_running(self) -> bool:
        """Tell whether any process of the server is alive; the kernel drops the lock with the last of them."""
        lock = self._take_lock()
        if lock is not None:
            os.close(lock)
        return lock is None

    def _take_lock(self) -> int | None:
        return take_lock(self.data.with_name(f"{self.data.name}.lock"))

    def _launch(self, *, lock: int, users: Path) -> None:
        try:
            self._prepare(lock=lock)
            self.rotate_log()
            with self.log.open("ab") as log:
                subprocess.run(  # noqa: S603 - no shell, and programs of this installation
                    [
                        sys.executable, "-I", "-S", last_user_guard.__file__,
                        str(lock), str(users), str(int(self.stop_signal)), str(self._run_as() or ""),
                        str(self.fsync_directory or ""), *self._command(),
                    ],
                    check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", pass_fds=(lock,),
                    # Ctrl-C in the terminal ends the programs, and those end the servers when they are done with them.
                    start_new_session=True,
                )  # fmt: skip
        except (OSError, subprocess.CalledProcessError) as error:
            raise self.failure(f"cannot be started ({error})") from error

    def _run_as(self) -> int | None:
        """Return the id of the user the server runs as; None is the user who starts it."""
        return None

    def _kill_orphans(self) -> None:  # noqa: B027 - not every server leaves something
        """Kill what a killed server left behind and keeps it from starting."""

    def failure(self, what: str) -> EmbeddedError:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        reasons = [line for line in lines[-50:] if "FATAL" in line or "rror" in line] or lines[-1:]
        reason = f' It says: "{reasons[-1].strip()}".' if reasons else ""
        return EmbeddedError(f"The embedded {self.title} {what}.{reason} The log is {self.log}. {_REMEDY}")


def take_lock(path: Path, kind: int = fcntl.LOCK_EX) -> int | None:
    """Lock a file, without waiting; returns its descriptor, or None while another process has it locked."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
