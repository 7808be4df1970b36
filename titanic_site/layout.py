"""The directories of an installation's own PostgreSQL and Valkey; known before anything runs."""

import hashlib
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

# The kernel's limit is 107 bytes on Linux and 103 on macOS.
_SOCKET_BYTES = 103
_LONGEST_SOCKET = "postgres/.s.PGSQL.5432"
# TMPDIR may differ from one terminal to the next; the sockets must not.
_SHORT_DIRECTORY = Path("/tmp")  # noqa: S108 - a private directory below it, checked
_UNQUOTED = re.compile(r"[A-Za-z0-9/._-]+")


@dataclass(frozen=True)
class Layout:
    """The directories of the embedded services' data and sockets."""

    home: Path

    @property
    def database_url(self) -> str:
        return f"postgres://titanic@{quote(str(self.sockets / 'postgres'), safe='')}/titanic"

    @property
    def redis_url(self) -> str:
        return f"unix://{self.sockets / 'valkey' / 'valkey.sock'}"

    @cached_property
    def root(self) -> Path:
        """The home by its one true name: two paths to it are one installation."""
        return Path(os.path.realpath(self.home))

    @cached_property
    def sockets(self) -> Path:
        """The home, or a short private directory where a socket's path would be too long or need quoting in a URL."""
        path = str(self.root / _LONGEST_SOCKET)
        if len(os.fsencode(path)) <= _SOCKET_BYTES and _UNQUOTED.fullmatch(path):
            return self.root
        name = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return _SHORT_DIRECTORY / f"titanic-{os.geteuid()}-{name}"
