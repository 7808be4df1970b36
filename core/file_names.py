"""Names of uploaded files: a client's is a label for people, and never the name of a stored file."""

from typing import Any
from uuid import uuid4

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.utils import timezone
from django.utils.deconstruct import deconstructible
from django.utils.translation import gettext as _

from core.errors import TooLarge

#: Characters of a label: what its columns hold.
MAX_LABEL_LENGTH = 200


def label(name: str | None) -> str:
    r"""Return a client's name for people: printable, on one line, its end where it is too long.

    >>> label("crew\n\x1b[31m\u202evsc.csv")
    'crew [31m vsc.csv'
    """
    printable = "".join(letter if letter.isprintable() else " " for letter in name or "")
    return " ".join(printable.split())[-MAX_LABEL_LENGTH:]


def upload_label(file: "UploadedFile[bytes]") -> str:
    """Return the label of an uploaded file; raises TooLarge above `LARGEST_UPLOAD` bytes."""
    if (file.size or 0) > settings.LARGEST_UPLOAD:
        message = _("The file is larger than %(most)s MB. Split it.")
        raise TooLarge(message % {"most": settings.LARGEST_UPLOAD // 1024**2}, field="file")
    return label(file.name) or "upload.csv"


@deconstructible
class GeneratedName:
    """An `upload_to` that generates a name in a folder, by month."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, row: object, name: str) -> str:
        return f"{self.folder}/{timezone.now():%Y/%m}/{uuid4().hex}"


class GeneratedNameUploadHandler(TemporaryFileUploadHandler):
    """Django's temporary file, without the client's suffix."""

    def new_file(self, field_name: str, file_name: str, *args: Any, **kwargs: Any) -> None:
        super().new_file(field_name, "upload", *args, **kwargs)
        self.file_name = self.file.name = file_name
