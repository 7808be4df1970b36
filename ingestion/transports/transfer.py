"""What all transports share: an object's metadata, the file it is written to, and how a source fails."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import IO

from django.template.defaultfilters import filesizeformat

from core.errors import TitanicError
from core.messages import Message as _

BLOCK_BYTES = 1024 * 1024
REPORT_SECONDS = 0.2
#: Bytes of the largest object that is fetched.
LARGEST_SOURCE = 16 * 1024**3
#: Takes the number of bytes fetched so far; may raise to stop the transfer.
ReportProgress = Callable[[int], None]


class SourceError(TitanicError):
    """A source cannot be read; the message says why and what to do."""

    code = "source"

    def __init__(self, message: _ | str, *, field: str | None = "uri") -> None:
        super().__init__(message, field=field)


@dataclass(frozen=True)
class RemoteObject:
    """Metadata of one object: its address, its version ("" where the source has none) and its size if known."""

    uri: str
    version: str
    byte_count: int | None


class BoundedWriter:
    """Write into an empty file, report progress a few times a second, and raise SourceError beyond the largest size."""

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
        check_size(self.byte_count, uri=self._uri)
        if self.written_at - self._reported_at >= REPORT_SECONDS:
            self._reported_at = self.written_at
            self._report(self.byte_count)
        return len(block)

    def restart(self) -> None:
        """Empty the file."""
        self._file.seek(0)
        self._file.truncate()
        self.byte_count = 0

    def finish(self) -> None:
        """Report the whole size."""
        self._report(self.byte_count)


def check_size(byte_count: int | None, *, uri: str) -> None:
    """Raise SourceError beyond `LARGEST_SOURCE`."""
    if byte_count is not None and byte_count > LARGEST_SOURCE:
        message = _("%(uri)s is larger than %(most)s. Split it into smaller tables.")
        raise SourceError(message % {"uri": uri, "most": filesizeformat(LARGEST_SOURCE)})
