"""Google's client for Cloud Storage, or for an emulator of it, and why it failed, in words.

Credentials are the environment's: a service account's file, workload identity, or none for an emulator.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.utils.translation import gettext as _

from core import http_errors
from core.errors import TitanicError


def client() -> Any:
    """A client of no particular project."""
    from google.cloud import storage

    # The client would ask for the bucket's own metadata in a thread, for traces that nobody collects.
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    return storage.Client(project=None)


@contextmanager
def explain_errors(uri: str, *, role: str, kind: type[TitanicError], gone: TitanicError) -> Iterator[None]:
    """Turn the client's errors into one sentence of this kind; `gone` is raised where it finds nothing."""
    import requests
    import urllib3
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption

    try:
        yield
    except GoogleAPIError as error:
        found = _refusal(uri, error, role=role)
        raise gone if found is None else kind(found) from error
    except GoogleAuthError as error:
        raise kind(_credentials(uri, error)) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, DataCorruption) as error:
        raise kind(_unreachable(uri, error)) from error


def _refusal(uri: str, error: Exception, *, role: str) -> str | None:
    """What Google answered; None where there is nothing."""
    from google.api_core import exceptions as api

    answer = error.cause if isinstance(error, api.RetryError) else error
    if not isinstance(answer, api.GoogleAPICallError):
        return _unreachable(uri, error)
    if isinstance(answer, api.NotFound):
        return None
    if isinstance(answer, (api.Forbidden, api.Unauthorized)):
        message = _("Google Cloud does not show %(uri)s to these credentials. Grant them “%(role)s”.")
        return message % {"uri": uri, "role": role}
    message = _("Google Cloud Storage answers %(status)s for %(uri)s. Try again later.")
    return message % {"uri": uri, "status": int(answer.code or 0)}


def _credentials(uri: str, error: Exception) -> str:
    from google.auth.exceptions import TransportError

    if isinstance(error, TransportError):
        return _unreachable(uri, error)
    message = _("There are no usable Google Cloud credentials: %(reason)s. Set GOOGLE_APPLICATION_CREDENTIALS.")
    reason = str(error.args[0] if error.args else error).partition("\n")[0].partition(". ")[0][:200].rstrip(".")
    return message % {"reason": reason}


def _unreachable(uri: str, error: BaseException) -> str:
    message = _("%(uri)s cannot be reached: %(reason)s. Check the network and try again.")
    return message % {"uri": uri, "reason": http_errors.reason_of(error)}
