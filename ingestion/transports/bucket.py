"""Objects in Google Cloud Storage, or in an emulator of it.

Credentials are the environment's: a service account's file, workload identity, or none for an emulator.
"""

import re
from base64 import b64encode
from contextlib import AbstractContextManager, closing
from time import monotonic
from typing import IO, TYPE_CHECKING, cast

import google_crc32c

from core import google, http_errors
from core.messages import Message as _
from ingestion.transports.transfer import BoundedWriter, RemoteObject, ReportProgress, SourceError, check_size

if TYPE_CHECKING:
    from google.api_core.retry import Retry
    from google.cloud import storage

#: Seconds without one byte received after which a call is given up.
DEADLINE_SECONDS = 60.0
_GENERATION = "generation "
_ADDRESS = re.compile(r"gs://(?P<bucket>[a-z0-9][a-z0-9._-]+[a-z0-9])/(?P<name>[^\0\r\n]*)", re.IGNORECASE)


def check(uri: str, *, any_file: bool) -> str:
    """Return the address; raises SourceError for one that names no object."""
    address = _ADDRESS.fullmatch(uri)
    name = address["name"] if address else ""
    if not name or name.endswith("/") or "*" in name[:-1]:
        message = _("“%(uri)s” names no object: give gs://bucket/object, or gs://bucket/prefix* for all that begin so.")
        raise SourceError(message % {"uri": ascii(uri)[1:-1] if not uri.isprintable() else uri})
    return uri


def stat(uri: str) -> list[RemoteObject]:
    """Find the object, or every object whose name begins with the prefix, by one call for metadata."""
    from google.api_core.exceptions import NotFound

    bucket, name = _parts(uri)
    with _source_errors(uri), closing(google.client()) as client:
        if name.endswith("*"):
            listed = client.list_blobs(bucket, prefix=name[:-1], retry=_retry(), timeout=http_errors.TIMEOUT)
            try:
                # A name that ends with a slash is the console's idea of a folder.
                blobs = [blob for blob in listed if not blob.name.endswith("/")]
            except NotFound:
                blobs = []
            blobs.sort(key=lambda blob: (blob.updated, blob.name))
        else:
            blob = _blob(client, bucket, name)
            blobs = [] if blob is None else [blob]
    if not blobs:
        message = _("There is no object at %(uri)s, or no such bucket. Check bucket and name.")
        raise SourceError(message % {"uri": uri})
    return [RemoteObject(f"gs://{bucket}/{blob.name}", f"{_GENERATION}{blob.generation}", blob.size) for blob in blobs]


def fetch(remote: RemoteObject, target: IO[bytes], *, report: ReportProgress) -> str:
    """Download the generation that `stat` found as it is stored, and compare its checksum."""
    bucket, name = _parts(remote.uri)
    generation = int(remote.version.removeprefix(_GENERATION)) if remote.version else None
    with _source_errors(remote.uri), closing(google.client()) as client:
        blob = _blob(client, bucket, name, generation)
        if blob is None:
            raise _gone(remote.uri)
        check_size(blob.size, uri=remote.uri)
        writer = _ChecksumWriter(target, report, uri=remote.uri)
        _download(blob, writer)
        if not writer.matches(blob.crc32c):
            writer.restart()
            _download(blob, writer)
    if not writer.matches(blob.crc32c):
        message = _("%(uri)s arrived damaged twice: its checksum differs. Start again, or upload the object again.")
        raise SourceError(message % {"uri": remote.uri})
    writer.finish()
    return f"{_GENERATION}{blob.generation}"


class _ChecksumWriter(BoundedWriter):
    """Compute the checksum, which the client leaves out after a transfer that was resumed."""

    _checksum = 0

    def write(self, block: bytes) -> int:
        self._checksum = google_crc32c.extend(self._checksum, block)
        return super().write(block)

    def restart(self) -> None:
        super().restart()
        self._checksum = 0

    def matches(self, crc32c: str | None) -> bool:
        """Compare with the checksum in Google's spelling; some emulators have none."""
        return crc32c is None or crc32c == b64encode(self._checksum.to_bytes(4, "big")).decode()


def _parts(uri: str) -> tuple[str, str]:
    bucket, _slash, name = uri[len("gs://") :].partition("/")
    return bucket, name


def _blob(client: "storage.Client", bucket: str, name: str, generation: int | None = None) -> "storage.Blob | None":
    return client.bucket(bucket).get_blob(name, generation=generation, retry=_retry(), timeout=http_errors.TIMEOUT)


def _download(blob: "storage.Blob", writer: BoundedWriter) -> None:
    # The client changes the metadata of the blob that it reads.
    copy = blob.bucket.blob(blob.name, generation=blob.generation)
    copy.download_to_file(writer, raw_download=True, checksum=None, retry=_retry(writer), timeout=http_errors.TIMEOUT)


def _retry(writer: BoundedWriter | None = None) -> "Retry":
    """Return the client's own retry; a download may take any time while bytes arrive."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    if writer is None:
        return cast("Retry", DEFAULT_RETRY.with_timeout(DEADLINE_SECONDS))
    is_transient = DEFAULT_RETRY._predicate
    retry: Retry = DEFAULT_RETRY.with_timeout(None).with_predicate(
        lambda error: is_transient(error) and monotonic() - writer.written_at < DEADLINE_SECONDS
    )
    return retry


def _source_errors(uri: str) -> AbstractContextManager[None]:
    return google.explain_errors(uri, role="Storage Object Viewer", kind=SourceError, gone=_gone(uri))


def _gone(uri: str) -> SourceError:
    return SourceError(_("%(uri)s was removed or replaced meanwhile. The next check takes it.") % {"uri": uri})
