"""Passwords: guesses are limited and logged on each page, and hashing leaves the processor to predictions."""

import logging
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.contrib.auth.views import PasswordChangeView, PasswordResetView
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from core.errors import Throttled
from core.roles import RoleBackend
from core.throttles import throttle
from core.users import client_address

logger = logging.getLogger(__name__)

#: Failures with one user name that all addresses together may have, for each one that a single address may have.
_NAME_FACTOR = 10
_LONGEST_NAME = 150
#: Against predictions a hash gets a quarter of a processor that both want.
_NICENESS = 5
#: A process hashes one password at a time: its other threads stay with predictions.
_hashing = threading.Lock()


def _lower_priority() -> None:
    # Elsewhere a thread has no priority of its own.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


_background = ThreadPoolExecutor(1, "passwords", initializer=_lower_priority)


class BackgroundHasher(PBKDF2PasswordHasher):
    """Django's hash, computed in one thread that runs when no other wants the processor; raises Throttled meanwhile."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        if not _hashing.acquire(blocking=False):
            raise Throttled(retry_after=1)
        try:
            return _background.submit(super().encode, password, salt, iterations).result()
        finally:
            _hashing.release()


class PasswordBackend(RoleBackend):
    """Signs in by password; failures are limited by address and by user name (THROTTLE_SIGN_IN)."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: str
    ) -> User | None:
        """Return the user whose password it is, or None; raises Throttled."""
        address = client_address(request) if request else "this machine"
        # Longer than any user name, a text is no one's, and fills no log.
        name = str(username)[:_LONGEST_NAME]
        clients = {f"sign-in from {address}": 1, f"sign-in as {name}": _NAME_FACTOR}
        for client, factor in clients.items():
            throttle(settings.THROTTLE_SIGN_IN, client, factor=factor, is_counted=False)
        user = super().authenticate(request, username, password, **kwargs)
        if user is not None:
            logger.info("Password for %s from %s: right", name, address)
            return user
        logger.warning("Password for %s from %s: wrong", name, address)
        for client, factor in clients.items():
            throttle(settings.THROTTLE_SIGN_IN, client, factor=factor)
        return None


class OldPasswordForm(PasswordChangeForm):
    """Checks the old password as a sign-in: with the same limit, line in the log and entry in the audit trail."""

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    def clean_old_password(self) -> str:
        """Return the old password, if it is the user's."""
        password: str = self.cleaned_data["old_password"]
        if authenticate(self.request, username=self.user.get_username(), password=password) is None:
            raise ValidationError(self.error_messages["password_incorrect"], code="password_incorrect")
        return password


# With the marks of Django's views: the one is for whoever is signed in, the other for anybody.
@wraps(PasswordChangeView.as_view())
def change_password(request: HttpRequest) -> HttpResponseBase:
    """Change one's own password."""
    return PasswordChangeView.as_view(form_class=partial(OldPasswordForm, request=request))(request)


@wraps(PasswordResetView.as_view())
def reset_password(request: HttpRequest) -> HttpResponseBase:
    """Send a link for a new password by mail; an address may ask as often as it may guess (THROTTLE_SIGN_IN)."""
    if request.method == "POST":
        throttle(settings.THROTTLE_SIGN_IN, f"password reset from {client_address(request)}")
    return PasswordResetView.as_view(extra_context={"sends_mail": sends_mail()})(request)


def sends_mail() -> bool:
    """Tell whether mail is sent (EMAIL_URL) and not only printed."""
    return not settings.EMAIL_BACKEND.endswith("console.EmailBackend")
