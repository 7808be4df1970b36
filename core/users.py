"""Who makes a request."""

from django.contrib.auth.models import User
from django.http import HttpRequest
from rest_framework.request import Request


def current_user(request: HttpRequest | Request) -> User | None:
    """Return the user who is signed in, or whose token it is; None for an anonymous request."""
    return request.user if request.user.is_authenticated else None


def client_address(request: HttpRequest | Request) -> str:
    """Return the client's address: the connection's, or what a proxy of TRUSTED_PROXIES tells of it."""
    return str(request.META.get("REMOTE_ADDR", ""))
