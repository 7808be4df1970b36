"""The timeout of all calls over HTTP, and why one failed, in words."""

import socket
import ssl

from core.messages import Message as _

#: Seconds to connect, and between two pieces of an answer.
TIMEOUT = (10.0, 30.0)


def reason_of(error: BaseException) -> _:
    """Return why a call failed, as a clause without a full stop."""
    import requests
    import urllib3
    from urllib3.util.ssl_match_hostname import CertificateError

    causes = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    for kinds, reason in (
        (socket.gaierror, _("there is no server of this name")),
        ((ssl.SSLCertVerificationError, CertificateError), _("its certificate is not valid")),
        (ssl.SSLError, _("it does not speak TLS as it should")),
        (ConnectionRefusedError, _("no server answers there")),
        ((TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError), _("it does not answer in time")),
    ):
        if any(isinstance(cause, kinds) for cause in causes):
            return reason
    return _("the connection broke off")
