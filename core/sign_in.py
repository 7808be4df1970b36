"""Sign-in by password: guesses are limited and logged, and hashing leaves the processor to predictions."""

import logging
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.http import HttpRequest

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
#: A process hashes for one sign-in at a time: its other threads stay with predictions.
_hashing = threading.Lock()


def _lower_priority() -> None:
    # Elsewhere a thread has no priority of its own.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


_background = ThreadPoolExecutor(1, "passwords", initializer=_lower_priority)


class BackgroundHasher(PBKDF2PasswordHasher):
    """Django's hash, computed in one thread that runs when no other wants the processor."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        return _background.submit(super().encode, password, salt, iterations).result()


class PasswordBackend(RoleBackend):
    """Signs in by password; failures are limited by address and by user name (THROTTLE_SIGN_IN)."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        """Return the user whose password it is, or None; raises Throttled."""
        address = client_address(request) if request else "this machine"
        # Longer than any user name, a text is no one's, and fills no log.
        name = str(username)[:_LONGEST_NAME]
        clients = {f"sign-in from {address}": 1, f"sign-in as {name}": _NAME_FACTOR}
        for client, factor in clients.items():
            throttle(settings.THROTTLE_SIGN_IN, client, factor=factor, is_counted=False)
        if not _hashing.acquire(blocking=False):
            raise Throttled(retry_after=1)
        try:
            user = super().authenticate(request, username, password, **kwargs)
        finally:
            _hashing.release()
        if user is not None:
            logger.info("Sign-in as %s from %s: the password is right", name, address)
            return user
        logger.warning("Sign-in as %s from %s failed", name, address)
        for client, factor in clients.items():
            throttle(settings.THROTTLE_SIGN_IN, client, factor=factor)
        return None
