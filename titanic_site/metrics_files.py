"""Which files a process keeps its metrics in."""

import fcntl
import os
from itertools import count
from pathlib import Path


class FileNumbers:
    """Gives each process the lowest number that no living process of the directory has.

    A process that ended leaves its files to the next one, which goes on counting in them: there are never more files
    than processes ran at a time. The locks hold between containers that share a volume too.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process = 0
        self._number = ""
        self._lock: int | None = None

    def __call__(self) -> str:
        """Return this process' number; called at each count."""
        if self._process != os.getpid():
            self._process, self._number = os.getpid(), self._take()
        return self._number

    def _take(self) -> str:
        if self._lock is not None:
            # The parent's: a child has neither its locks nor its files.
            os.close(self._lock)
        for number in count():
            path = self._directory / f"{number}.lock"
            try:
                self._lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            except PermissionError:
                if not path.exists():
                    raise
                # It is another user's.
                continue
            try:
                fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._lock)
                continue
            return str(number)
        raise AssertionError
