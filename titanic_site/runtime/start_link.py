"""The link that `up` prints: opened within an hour, it signs its reader in as the administrator, once."""

import logging
from urllib.parse import urlencode

from django.contrib.auth import login
from django.contrib.auth.models import User
from django.core import signing
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from core.users import client_address

logger = logging.getLogger(__name__)

_MAX_AGE_SECONDS = 3600


def path() -> str | None:
    """Return the link without its host; None without an administrator who may sign in."""
    admin = _administrators().first()
    # In the query: Django's log tells the paths of refused requests.
    return f"{reverse('start_link')}?{urlencode({'token': _signer(admin).sign('start')})}" if admin else None


@transaction.atomic
def sign_in(request: HttpRequest, token: str) -> bool:
    """Sign the administrator in if the link's token is good; of two who open it at once, one is."""
    admin = _administrators().select_for_update().first()
    if admin is None:
        return False
    try:
        _signer(admin).unsign(token, max_age=_MAX_AGE_SECONDS)
    except signing.BadSignature:
        return False
    login(request, admin)
    logger.info("%s signed in from %s by the link printed at the start", admin, client_address(request))
    return True


def _administrators() -> QuerySet[User]:
    return User.objects.filter(is_superuser=True, is_active=True).order_by("pk")


def _signer(admin: User) -> signing.TimestampSigner:
    """Sign for this administrator, until they sign in, in whatever way, or have another password."""
    return signing.TimestampSigner(salt=f"{__name__}:{admin.pk}:{admin.password}:{admin.last_login}")
