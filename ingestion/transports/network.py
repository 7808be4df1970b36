"""What all calls over HTTP share: how long they wait, and why they fail, in words."""

import socket
import ssl
from collections.abc import Iterator

from django.utils.translation import gettext as _

#: Seconds to connect, and between two pieces of an answer.
TIMEOUT = (10.0, 30.0)


def why(error: BaseException) -> str:
    """The reason of a failed call as a clause without a full stop."""
    import requests
    import urllib3

    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            return _("there is no server of this name")
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _("its certificate is not valid")
        if isinstance(cause, ConnectionRefusedError):
            return _("no server answers there")
        if isinstance(cause, (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)):
            return _("it does not answer in time")
    return _("the connection broke off")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
