"""Files on this machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from django.conf import settings
from django.utils.translation import gettext as _

from ingestion.transports.bounded_writer import BLOCK_BYTES, BoundedWriter
from ingestion.transports.errors import SourceError
from ingestion.transports.remote_object import RemoteObject, ReportProgress


def inbox() -> Path:
    """The folder for files that pages and the API may name."""
    return Path(settings.HOME / "inbox")


def check(uri: str, *, is_operator: bool) -> None:
    """Refuse what is no path and, for all but operators, what is outside the allowed folders."""
    _path(uri, is_operator=is_operator)


def stat(uri: str, *, is_operator: bool) -> list[RemoteObject]:
    """The file, by its time of change and its size."""
    path = _path(uri, is_operator=is_operator)
    with _readable(path):
        if not path.is_file():
            raise SourceError(_("There is no file at %(path)s.") % {"path": path})
        status = path.stat()
    return [RemoteObject(str(path), _version(status), status.st_size)]


def fetch(remote: RemoteObject, target: IO[bytes], *, report: ReportProgress, is_operator: bool) -> str:
    """Copy the file through one descriptor; raises SourceError when it changes meanwhile."""
    path = _path(remote.uri, is_operator=is_operator)
    writer = BoundedWriter(target, report, uri=str(path))
    with _readable(path):
        file = path.open("rb")
    with file:
        before = _version(os.fstat(file.fileno()))
        for block in _blocks(file, path):
            writer.write(block)
        after = _version(os.fstat(file.fileno()))
    if before != after:
        message = _("%(path)s changed while it was read. It is taken at the next look.")
        raise SourceError(message % {"path": path})
    writer.finish()
    return before


def _path(uri: str, *, is_operator: bool) -> Path:
    """Operators may name any file, from the working directory on; everybody else begins in the inbox."""
    if "://" in uri or "\0" in uri:
        raise SourceError(_("“%(uri)s” is not a file path.") % {"uri": uri.replace("\0", "␀")})
    try:
        return Path(uri).expanduser().resolve() if is_operator else _allowed(uri)
    except (OSError, RuntimeError, ValueError) as error:
        # A circle of links, an unknown ~user, half a character.
        raise SourceError(_("“%(uri)s” is not a file path.") % {"uri": ascii(uri)[1:-1]}) from error


def _allowed(uri: str) -> Path:
    folders = [inbox().resolve(), (settings.BASE_DIR / "ingestion" / "sample").resolve()]
    configured = Path(settings.ENV.source_uri).resolve()
    path = (folders[0] / uri).resolve()
    if path != configured and not any(path.is_relative_to(folder) for folder in folders):
        message = _("%(path)s is outside the allowed folder. Put the file into %(folder)s, or upload it.")
        raise SourceError(message % {"path": uri, "folder": folders[0]})
    return path


def _version(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns}-{status.st_size}"


def _blocks(file: IO[bytes], path: Path) -> Iterator[bytes]:
    while True:
        with _readable(path):
            block = file.read(BLOCK_BYTES)
        if not block:
            return
        yield block


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Around reading alone: a full disk where it is written is not the source's fault."""
    try:
        yield
    except FileNotFoundError as error:
        raise SourceError(_("There is no file at %(path)s.") % {"path": path}) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise SourceError(_("%(uri)s cannot be read: %(reason)s.") % {"uri": path, "reason": reason}) from error
