"""Where a table comes from: a file in an allowed folder, or an upload in storage."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from django.conf import settings
from django.utils.translation import gettext as _

from ingestion.models import Dataset
from titanic_site.lib.errors import TitanicError


class SourceError(TitanicError):
    """A source that cannot be read; the message says what to do."""

    code = "source"


def inbox() -> Path:
    """The folder for files that pages and the API may name."""
    return Path(settings.HOME / "inbox")


def allowed_path(uri: str) -> Path:
    """The file behind an address that a page or the API named; raises SourceError outside the allowed folders."""
    if "://" in uri or "\0" in uri:
        raise SourceError(_("“%(uri)s” is not a file path.") % {"uri": uri}, field="uri")
    folders = [inbox().resolve(), (settings.BASE_DIR / "ingestion" / "sample").resolve()]
    configured = Path(settings.ENV.source_uri).resolve()
    path = (folders[0] / uri).resolve()
    if path != configured and not any(path.is_relative_to(folder) for folder in folders):
        message = _("%(path)s is outside the allowed folder. Put the file into %(folder)s, or upload it.")
        raise SourceError(message % {"path": uri, "folder": folders[0]}, field="uri")
    return existing_path(str(path))


def existing_path(uri: str) -> Path:
    """The file at a path; raises SourceError where there is none."""
    path = Path(uri).expanduser().resolve()
    if not path.is_file():
        raise SourceError(_("There is no file at %(path)s.") % {"path": path}, field="uri")
    return path


@contextmanager
def opened(dataset: Dataset) -> Iterator[IO[bytes]]:
    """The dataset's table, open for reading from its first byte."""
    try:
        with dataset.upload.open("rb") if dataset.upload else existing_path(dataset.uri).open("rb") as file:
            yield file
    except OSError as error:
        reason = error.strerror or str(error)
        raise SourceError(_("%(uri)s cannot be read: %(reason)s.") % {"uri": dataset.uri, "reason": reason}) from error
