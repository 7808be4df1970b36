"""The file that a source is written to."""

from time import monotonic
from typing import IO

from django.conf import settings
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _

from ingestion.transports.errors import SourceError
from ingestion.transports.remote_object import ReportProgress

BLOCK_BYTES = 1024 * 1024
REPORT_SECONDS = 0.2
_LARGEST_BYTES = 16 * 1024**3


class BoundedWriter:
    """Writes into an empty file, tells how far it is a few times a second, and refuses what is too large."""

    def __init__(self, file: IO[bytes], report: ReportProgress, *, uri: str) -> None:
        self._file = file
        self._report = report
        self._uri = uri
        self._reported_at = 0.0
        self.written_at = monotonic()
        self.byte_count = 0

    def write(self, block: bytes) -> int:
        """Append the block."""
        self._file.write(block)
        self.byte_count += len(block)
        self.written_at = monotonic()
        refuse_too_large(self.byte_count, uri=self._uri)
        if self.written_at - self._reported_at >= REPORT_SECONDS:
            self._reported_at = self.written_at
            self._report(self.byte_count)
        return len(block)

    def restart(self) -> None:
        """Forget what was written."""
        self._file.seek(0)
        self._file.truncate()
        self.byte_count = 0

    def finish(self) -> None:
        """Tell the whole size."""
        self._report(self.byte_count)


def refuse_too_large(byte_count: int | None, *, uri: str) -> None:
    """Raise SourceError beyond the largest source that this installation takes."""
    most = getattr(settings, "LARGEST_SOURCE", _LARGEST_BYTES)
    if byte_count is not None and byte_count > most:
        message = _("%(uri)s is larger than %(most)s. Split it into smaller tables.")
        raise SourceError(message % {"uri": uri, "most": filesizeformat(most)})
