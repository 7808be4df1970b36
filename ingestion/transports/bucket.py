"""Objects in Google Cloud Storage, or in an emulator of it.

Credentials are the environment's: a service account's file, workload identity, or none for an emulator.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from django.utils.translation import gettext as _

from ingestion.transports.errors import SourceError
from ingestion.transports.found import Found, Report

#: How long a call, with all its retries, may take.
DEADLINE_SECONDS = 60.0
_TIMEOUT = (10.0, 30.0)
_GENERATION = "generation "


def check(uri: str, *, is_operator: bool) -> None:
    """Refuse what names no object."""
    bucket, name = _parts(uri)
    if not bucket or not name or name.endswith("/") or "*" in name[:-1] or "\0" in uri:
        message = _("“%(uri)s” names no object: give gs://bucket/object, or gs://bucket/prefix* for all that begin so.")
        raise SourceError(message % {"uri": uri}, field="uri")


def look(uri: str, *, is_operator: bool) -> list[Found]:
    """The object, or every object whose name begins with the prefix, by generation: one call."""
    bucket, name = _parts(uri)
    with _explained(uri):
        if name.endswith("*"):
            listed = _client().list_blobs(bucket, prefix=name[:-1], retry=_retry(), timeout=_TIMEOUT)
            blobs = sorted((blob for blob in listed if not blob.name.endswith("/")), key=lambda blob: blob.updated)
        else:
            blob = _client().bucket(bucket).get_blob(name, retry=_retry(), timeout=_TIMEOUT)
            blobs = [blob] if blob else []
    if not blobs:
        raise SourceError(_("There is no object at %(uri)s. Check bucket and name.") % {"uri": uri}, field="uri")
    return [Found(f"gs://{bucket}/{blob.name}", f"{_GENERATION}{blob.generation}", blob.size) for blob in blobs]


def fetch(found: Found, into: IO[bytes], *, report: Report, is_operator: bool) -> str:
    """Download that generation as it is stored; the client resumes, and compares the crc32c."""
    from google.cloud.storage.exceptions import DataCorruption

    bucket, name = _parts(found.uri)
    generation = int(found.version.removeprefix(_GENERATION)) if found.version else None
    with _explained(found.uri):
        blob = _client().bucket(bucket).blob(name, generation=generation)
        sink: Any = _Reporting(into, report)
        for is_last in (False, True):
            try:
                blob.download_to_file(sink, raw_download=True, checksum="crc32c", retry=_retry(), timeout=_TIMEOUT)
                break
            except DataCorruption:
                if is_last:
                    raise
                into.seek(0)
                into.truncate()
    return f"{_GENERATION}{blob.generation or generation}"


def _parts(uri: str) -> tuple[str, str]:
    bucket, _slash, name = uri.partition("://")[2].partition("/")
    return bucket, name


def _client() -> Any:
    from google.cloud import storage

    return storage.Client(project=None)


def _retry() -> Any:
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(DEADLINE_SECONDS)


class _Reporting(io.RawIOBase):
    """Writes into a file and tells how far it is."""

    def __init__(self, file: IO[bytes], report: Report) -> None:
        self._file = file
        self._report = report

    def writable(self) -> bool:
        return True

    def write(self, block: Any) -> int:
        written = self._file.write(block)
        self._report(self._file.tell())
        return written


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Turn the client's errors into one sentence."""
    import requests
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

    try:
        yield
    except api.NotFound as error:
        message = _("There is no object at %(uri)s any more, or no such bucket. Check bucket and name.")
        raise SourceError(message % {"uri": uri}, field="uri") from error
    except (api.Forbidden, api.Unauthorized) as error:
        message = _("Google refuses to show %(uri)s to these credentials. Grant them “Storage Object Viewer”.")
        raise SourceError(message % {"uri": uri}, field="uri") from error
    except (auth.GoogleAuthError, ValueError) as error:
        message = _("There are no usable Google credentials (%(reason)s). Set GOOGLE_APPLICATION_CREDENTIALS.")
        raise SourceError(message % {"reason": _first_line(error)}, field="uri") from error
    except DataCorruption as error:
        message = _("%(uri)s arrived damaged twice: its checksum is another. Start again.")
        raise SourceError(message % {"uri": uri}, field="uri") from error
    except (api.GoogleAPIError, InvalidResponse, requests.RequestException, ConnectionError) as error:
        message = _("%(uri)s cannot be reached (%(reason)s). Check the network and start again.")
        raise SourceError(message % {"uri": uri, "reason": _first_line(error)}, field="uri") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200].rstrip(".") or type(error).__name__
