"""A bucket as Django's storage, for web processes and workers on more machines than one."""

import errno
import os
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from django.conf import settings
from django.core.files import File
from django.utils.translation import gettext as _
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY
from requests.adapters import HTTPAdapter
from storages.backends.gcloud import GoogleCloudStorage

from core import content_store, google, http_errors
from core.errors import Unavailable

#: Seconds for which a web process retries a call.
RETRY_DEADLINE = 10.0


def set_deadline() -> None:
    """Let this process' calls to a bucket fail before the client of the page gives up."""
    # The default of every call of the storage and of the client.
    DEFAULT_RETRY._timeout = RETRY_DEADLINE


class TimeoutAdapter(HTTPAdapter):
    """Applies the timeout of all HTTP calls: the client's own, a minute, cannot be set."""

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return super().send(request, *args, **{**kwargs, "timeout": http_errors.TIMEOUT})


class Bucket(GoogleCloudStorage):  # type: ignore[misc]
    """Files as objects of a bucket; every method raises Unavailable where it cannot be reached."""

    def get_default_settings(self) -> dict[str, object]:
        """Set the options that differ from the storage's defaults."""
        return {
            **super().get_default_settings(),
            "bucket_name": settings.ARTIFACT_BUCKET,
            "file_overwrite": False,
            "max_memory_size": settings.FILE_UPLOAD_MAX_MEMORY_SIZE,
            # Compressed files stay so: the client would decompress them, however large, when they are opened.
            "object_parameters": {"content_encoding": None},
            # Files are served by this site alone; to sign addresses takes a key that not every account has.
            "querystring_auth": False,
        }

    @cached_property
    def client(self) -> storage.Client:
        """Make the client at the first use: after the fork."""
        client = google.client()
        # The second session fetches tokens; an emulator has none.
        for session in filter(None, (client._http, client._http._auth_request_session)):
            for scheme in ("http://", "https://"):
                session.mount(scheme, TimeoutAdapter())
        return client

    def check(self) -> None:
        """Raise Unavailable where the bucket cannot be read."""
        with self._errors_explained():
            # An account that may only handle objects may not read the bucket's own metadata.
            retry = DEFAULT_RETRY.with_timeout(RETRY_DEADLINE)
            list(self.client.list_blobs(self.bucket_name, max_results=1, retry=retry))

    def exists(self, name: str) -> bool:
        """Tell whether there is such an object."""
        with self._errors_explained():
            return bool(super().exists(name))

    def size(self, name: str) -> int:
        """Return the size in bytes."""
        with self._errors_explained():
            return int(super().size(name))

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Add a random part to the name, but for a content-addressed file's.

        An object exists only when it is whole: two uploads of one name at once would overwrite each other.
        """
        if not name.startswith(content_store.FOLDER):
            path = PurePosixPath(name)
            name = self.get_alternative_name(str(path.with_suffix("")), path.suffix)
        return str(super().get_available_name(name, max_length))

    def delete(self, name: str) -> None:
        """Remove the object, if there is one."""
        with self._errors_explained():
            super().delete(name)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """List the folders and the files below the path."""
        with self._errors_explained():
            folders, names = super().listdir(path)
            return folders, names

    def _open(self, name: str, mode: str = "rb") -> "File[bytes]":
        with self._errors_explained():
            try:
                file: File[bytes] = super()._open(name, mode)
            except FileNotFoundError as error:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from error
            # Fetched here, where a failure is explained, and not at the first read.
            file.seek(0)
            return file

    def _save(self, name: str, content: "File[bytes]") -> str:
        with self._errors_explained():
            return str(super()._save(name, content))

    def _errors_explained(self) -> AbstractContextManager[None]:
        uri = f"gs://{self.bucket_name}"
        gone = Unavailable(_("There is no bucket %(uri)s. Make it, or correct ARTIFACT_BUCKET.") % {"uri": uri})
        return google.explain_errors(uri, role="Storage Object Admin", kind=Unavailable, gone=gone)
