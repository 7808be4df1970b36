"""Files on this machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from django.conf import settings

from core.messages import Message as _
from ingestion.transports.transfer import BLOCK_BYTES, BoundedWriter, RemoteObject, ReportProgress, SourceError


def inbox() -> Path:
    """Return the folder for files that pages and the API may name."""
    return Path(settings.HOME / "inbox")


def check(uri: str, *, any_file: bool) -> str:
    """Return a file's whole path; raises SourceError.

    With `any_file` it may lie anywhere, from the working directory; else in an allowed folder, from the inbox.
    """
    if "://" in uri or "\0" in uri:
        raise SourceError(_("“%(uri)s” is not a file path.") % {"uri": uri.replace("\0", "␀")})
    folders = [inbox().resolve(), (settings.BASE_DIR / "ingestion" / "sample").resolve()]
    try:
        path = (Path(uri).expanduser() if any_file else folders[0] / uri).resolve()
        is_allowed = any_file or path == Path(settings.SOURCE_URI).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        # A circle of links, an unknown ~user, half a character.
        raise SourceError(_("“%(uri)s” is not a file path.") % {"uri": ascii(uri)[1:-1]}) from error
    if not is_allowed and not any(path.is_relative_to(folder) for folder in folders):
        message = _("%(path)s is outside the allowed folder. Put the file into %(folder)s, or upload it.")
        raise SourceError(message % {"path": uri, "folder": folders[0]})
    with _source_errors(path):
        if not path.is_file():
            raise SourceError(_("There is no file at %(path)s.") % {"path": path})
    return str(path)


def stat(uri: str) -> list[RemoteObject]:
    """Find the file; its version is its time of change and its size."""
    path = Path(uri)
    with _source_errors(path):
        status = path.stat()
    return [RemoteObject(uri, _version(status), status.st_size)]


def fetch(remote: RemoteObject, target: IO[bytes], *, report: ReportProgress) -> str:
    """Copy the file; raises SourceError when it changes meanwhile."""
    path = Path(remote.uri)
    writer = BoundedWriter(target, report, uri=str(path))
    with _source_errors(path):
        file = path.open("rb")
    with file:
        before = _version(os.fstat(file.fileno()))
        while True:
            with _source_errors(path):
                block = file.read(BLOCK_BYTES)
            if not block:
                break
            writer.write(block)
        after = _version(os.fstat(file.fileno()))
    if before != after:
        raise SourceError(_("%(path)s changed while it was read. The next check takes it.") % {"path": path})
    writer.finish()
    return before


def _version(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns}-{status.st_size}"


@contextmanager
def _source_errors(path: Path) -> Iterator[None]:
    """Turn an error of reading into a SourceError; not around writes, where a full disk is not the source's fault."""
    try:
        yield
    except FileNotFoundError as error:
        raise SourceError(_("There is no file at %(path)s.") % {"path": path}) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise SourceError(_("%(uri)s cannot be read: %(reason)s.") % {"uri": path, "reason": reason}) from error
