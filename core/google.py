"""Google's client for Cloud Storage, or for an emulator of it, and its errors in one sentence.

Credentials are the environment's: a service account's file, workload identity, or none for an emulator.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from core import http_errors
from core.errors import TitanicError
from core.messages import Message as _

if TYPE_CHECKING:
    from google.cloud import storage


def client() -> "storage.Client":
    """Return a client without a project."""
    from google.cloud import storage

    # Else the client fetches the bucket's metadata in a thread, for traces that are not collected.
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    return storage.Client(project=None)


@contextmanager
def explain_errors(uri: str, *, role: str, kind: type[TitanicError], gone: TitanicError) -> Iterator[None]:
    """Turn the client's errors into one sentence in an error of this kind; raise `gone` where there is nothing."""
    import requests
    import urllib3
    from google.api_core import exceptions as api
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.cloud.storage.exceptions import DataCorruption

    try:
        yield
    except (
        api.GoogleAPIError, GoogleAuthError, DataCorruption, requests.RequestException, urllib3.exceptions.HTTPError,
        ConnectionError,
    ) as error:  # fmt: skip
        answer = error.cause if isinstance(error, api.RetryError) else error
        if isinstance(answer, api.NotFound):
            raise gone from error
        if isinstance(answer, (api.Forbidden, api.Unauthorized)):
            message = _("Google Cloud does not show %(uri)s to these credentials. Grant them “%(role)s”.")
            raise kind(message % {"uri": uri, "role": role}) from error
        if isinstance(answer, api.GoogleAPICallError):
            message = _("Google Cloud Storage answers %(status)s for %(uri)s. Try again later.")
            raise kind(message % {"uri": uri, "status": int(answer.code or 0)}) from error
        if isinstance(answer, GoogleAuthError) and not isinstance(answer, TransportError):
            message = _("There are no usable Google Cloud credentials: %(reason)s. Set GOOGLE_APPLICATION_CREDENTIALS.")
            first_line = str(answer.args[0] if answer.args else answer).partition("\n")[0]
            raise kind(message % {"reason": first_line.partition(". ")[0][:200].rstrip(".")}) from error
        message = _("%(uri)s cannot be reached: %(reason)s. Check the network and try again.")
        raise kind(message % {"uri": uri, "reason": http_errors.reason_of(error)}) from error
