"""PostgreSQL and Valkey out of two wheels: a whole installation with no server to set up.

Every process that uses them shares a lock; when the last user is gone, however it ended, the servers stop cleanly.
"""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from titanic_site.layout import Layout
from titanic_site.runtime.postgres import Postgres
from titanic_site.runtime.server import START_SECONDS, EmbeddedError, Server, take_lock
from titanic_site.runtime.valkey import Valkey

__all__ = ["EmbeddedError", "Layout", "Services", "in_use"]

_WAIT_SECONDS = 150
_STEP_SECONDS = 0.02


class Services:
    """One process's share in the embedded services of a home."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        root, sockets = layout.root, layout.sockets
        self.postgres = Postgres(
            data=root / "postgres/data", sockets=sockets / "postgres", log=root / "logs/postgres.log"
        )
        self.valkey = Valkey(data=root / "valkey/data", sockets=sockets / "valkey", log=root / "logs/valkey.log")
        self.servers: tuple[Server, ...] = (self.postgres, self.valkey)
        self._users_lock = root / "users.lock"
        self._share: int | None = None

    def are_answering(self) -> bool:
        """Tell whether both serve clients right now."""
        return all(server.is_answering() for server in self.servers)

    def start(self, *, patience: float = START_SECONDS) -> None:
        """Return when both answer: each that is down is started, one that runs has some seconds to answer."""
        try:
            self._make_directories()
            if self._share is None:
                self._share = self._wait_for_lock(self._users_lock, fcntl.LOCK_SH)
            # Of two processes that miss a server at once, one starts it and the other waits.
            turn = self._wait_for_lock(self.layout.root / "services.lock", fcntl.LOCK_EX)
        except OSError as error:
            message = f"Cannot write {error.filename} ({error.strerror}). Set TITANIC_HOME to a directory of yours."
            raise EmbeddedError(message) from error
        try:
            for server in self.servers:
                server.start(users=self._users_lock, patience=patience)
        finally:
            os.close(turn)

    def leave(self) -> None:
        """Give up the share; the last user waits until both servers are down."""
        if self._share is None:
            return
        os.close(self._share)
        self._share = None
        end = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < end and any(server.is_running() for server in self.servers):
            if self._has_users():
                return
            time.sleep(_STEP_SECONDS)

    def _has_users(self) -> bool:
        """Tell whether others share the lock: then it can be taken shared, but not exclusively."""
        for kind in (fcntl.LOCK_EX, fcntl.LOCK_SH):
            lock = take_lock(self._users_lock, kind)
            if lock is not None:
                os.close(lock)
                return kind == fcntl.LOCK_SH
        return False

    def _make_directories(self) -> None:
        root, sockets = self.layout.root, self.layout.sockets
        (root / "logs").mkdir(parents=True, exist_ok=True)
        if sockets != root:
            sockets.mkdir(mode=0o700, exist_ok=True)
            status = sockets.lstat()
            # Every user may write to /tmp: another user's directory there would hand our clients to their server.
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o066:
                message = f"{sockets} is not a private directory of this user."
                raise EmbeddedError(f"{message} Remove it, or set TITANIC_HOME to a short path.")
        for directory in (root, sockets):
            for name in ("postgres", "valkey"):
                (directory / name).mkdir(mode=0o700, exist_ok=True)

    def _wait_for_lock(self, path: Path, kind: int) -> int:
        end = time.monotonic() + _WAIT_SECONDS
        while (lock := take_lock(path, kind)) is None:
            if time.monotonic() > end:
                message = f"Another process has been starting or stopping the services for {_WAIT_SECONDS} s: {path}."
                raise EmbeddedError(f"{message} The logs are in {self.layout.root / 'logs'}. End it and start again.")
            time.sleep(_STEP_SECONDS)
        return lock


@contextmanager
def in_use(layout: Layout) -> Iterator[Services]:
    """Keep both servers running while the body runs; the last user stops them."""
    services = Services(layout)
    try:
        services.start()
        yield services
    finally:
        services.leave()
