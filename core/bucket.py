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
from google.cloud.storage.retry import DEFAULT_RETRY
from requests.adapters import HTTPAdapter
from storages.backends.gcloud import GoogleCloudStorage

from core import content_store, google, http_errors
from core.errors import Unavailable

#: For how long (seconds) a call is tried again while somebody waits.
RETRY_DEADLINE = 10.0


def set_deadline() -> None:
    """Let this process give a bucket that does not answer up while somebody still waits for the page."""
    # What each call of the storage, and of the client, takes by itself.
    DEFAULT_RETRY._timeout = RETRY_DEADLINE


class TimeoutAdapter(HTTPAdapter):
    """Waits for an answer as all calls do: the client's own minute cannot be set."""

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return super().send(request, *args, **{**kwargs, "timeout": http_errors.TIMEOUT})


class Bucket(GoogleCloudStorage):  # type: ignore[misc]
    """Files as objects of a bucket; every method raises Unavailable where that cannot be asked."""

    def get_default_settings(self) -> dict[str, Any]:
        """What is not among the storage's own options."""
        return {
            **super().get_default_settings(),
            "bucket_name": settings.ENV.artifact_bucket,
            "file_overwrite": False,
            "max_memory_size": settings.FILE_UPLOAD_MAX_MEMORY_SIZE,
            # What is packed stays so: the client would unpack it, however large that is, when it is opened.
            "object_parameters": {"content_encoding": None},
            # An address is nobody's way past our own doors; to sign one takes a key that not every account has.
            "querystring_auth": False,
        }

    @cached_property
    def client(self) -> Any:
        """The client, made by whoever asks first: after the fork."""
        made = google.client()
        # The second one fetches tokens; an emulator wants none.
        for session in filter(None, (made._http, made._http._auth_request_session)):
            for scheme in ("http://", "https://"):
                session.mount(scheme, TimeoutAdapter())
        return made

    def check(self) -> None:
        """Raise Unavailable where the bucket cannot be read."""
        with self._explained():
            # Whoever may only handle objects may not ask for the bucket itself.
            retry = DEFAULT_RETRY.with_timeout(RETRY_DEADLINE)
            list(self.client.list_blobs(self.bucket_name, max_results=1, retry=retry))

    def exists(self, name: str) -> bool:
        """Whether there is such an object."""
        with self._explained():
            return bool(super().exists(name))

    def size(self, name: str) -> int:
        """In bytes."""
        with self._explained():
            return int(super().size(name))

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """The name with something of its own, but for a content-addressed file's.

        An object is there when it is whole: whoever asked before for the same name would be overwritten.
        """
        if not name.startswith(content_store.FOLDER):
            path = PurePosixPath(name)
            name = self.get_alternative_name(str(path.with_suffix("")), path.suffix)
        return str(super().get_available_name(name, max_length))

    def delete(self, name: str) -> None:
        """Remove the object, if there is one."""
        with self._explained():
            super().delete(name)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Names of what begins with the path, up to a slash and without."""
        with self._explained():
            folders, names = super().listdir(path)
            return folders, names

    def _open(self, name: str, mode: str = "rb") -> "File[Any]":
        with self._explained():
            try:
                opened: Any = super()._open(name, mode)
            except FileNotFoundError as error:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from error
            # It is fetched here, where it is known why that fails, and not when it is read.
            opened.seek(0)
            file: File[Any] = opened
            return file

    def _save(self, name: str, content: "File[Any]") -> str:
        with self._explained():
            return str(super()._save(name, content))

    def _explained(self) -> AbstractContextManager[None]:
        uri = f"gs://{self.bucket_name}"
        gone = Unavailable(_("There is no bucket %(uri)s. Make it, or correct ARTIFACT_BUCKET.") % {"uri": uri})
        return google.explain_errors(uri, role="Storage Object Admin", kind=Unavailable, gone=gone)
