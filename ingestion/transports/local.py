"""Files on this machine."""

import os
from pathlib import Path
from typing import IO

from django.conf import settings
from django.utils.translation import gettext as _

from ingestion.transports.errors import SourceError
from ingestion.transports.found import BLOCK_BYTES, Found, Report


def inbox() -> Path:
    """The folder for files that pages and the API may name."""
    return Path(settings.HOME / "inbox")


def check(uri: str, *, is_operator: bool) -> None:
    """Refuse what is no path, and for all but operators what is outside the allowed folders."""
    if "\0" in uri:
        raise SourceError(_("“%(uri)s” is not a file path.") % {"uri": uri.replace("\0", "␀")}, field="uri")
    if is_operator:
        return
    folders = [inbox().resolve(), (settings.BASE_DIR / "ingestion" / "sample").resolve()]
    configured = Path(settings.ENV.source_uri).resolve()
    path = _path(uri, is_operator=False)
    if path != configured and not any(path.is_relative_to(folder) for folder in folders):
        message = _("%(path)s is outside the allowed folder. Put the file into %(folder)s, or upload it.")
        raise SourceError(message % {"path": uri, "folder": folders[0]}, field="uri")


def look(uri: str, *, is_operator: bool) -> list[Found]:
    """The file, by its time of change and its size."""
    path = _path(uri, is_operator=is_operator)
    if not path.is_file():
        raise SourceError(_("There is no file at %(path)s.") % {"path": path}, field="uri")
    status = path.stat()
    return [Found(str(path), _version(status), status.st_size)]


def fetch(found: Found, into: IO[bytes], *, report: Report, is_operator: bool) -> str:
    """Copy the file; raises SourceError when it changes meanwhile."""
    try:
        with _path(found.uri, is_operator=is_operator).open("rb") as file:
            before = _version(os.fstat(file.fileno()))
            while block := file.read(BLOCK_BYTES):
                into.write(block)
                report(into.tell())
            after = _version(os.fstat(file.fileno()))
    except FileNotFoundError:
        message = _("There is no file at %(path)s any more. Put it back, or name another.")
        raise SourceError(message % {"path": found.uri}, field="uri") from None
    except (PermissionError, IsADirectoryError) as error:
        message = _("%(path)s cannot be read: %(reason)s.")
        raise SourceError(message % {"path": found.uri, "reason": error.strerror}, field="uri") from None
    if before != after:
        message = _("%(path)s changed while it was read. Start again when it is complete.")
        raise SourceError(message % {"path": found.uri}, field="uri")
    return before


def _path(uri: str, *, is_operator: bool) -> Path:
    """A relative path begins in the working directory for who sits at the shell, in the inbox for everybody else."""
    try:
        return (Path(uri).expanduser() if is_operator else inbox() / uri).resolve()
    except (OSError, RuntimeError, ValueError):
        raise SourceError(_("“%(uri)s” is not a file path.") % {"uri": uri}, field="uri") from None


def _version(status: os.stat_result) -> str:
    return f"changed {status.st_mtime_ns}, {status.st_size} bytes"
