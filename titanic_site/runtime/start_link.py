"""The link that `up` prints: opened within an hour, it signs its reader in as the administrator, once."""

import logging
from urllib.parse import urlencode

from django.contrib.auth import login
from django.contrib.auth.models import User
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core import signing
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

logger = logging.getLogger(__name__)

_MAX_AGE_SECONDS = 3600


class _Tokens(PasswordResetTokenGenerator):
    """Good until its user signs in, in whatever way, or has another password."""

    key_salt = "titanic_site.runtime.start_link"


_tokens = _Tokens()
_signer = signing.TimestampSigner(salt=_Tokens.key_salt)


def path() -> str | None:
    """Return the link without its host; None without an administrator who may sign in."""
    admin = _administrators().first()
    # In the query: Django's log tells the paths of refused requests.
    if admin is None:
        return None
    return f"{reverse('start_link')}?{urlencode({'token': _signer.sign(_tokens.make_token(admin))})}"


@transaction.atomic
def sign_in(request: HttpRequest, token: str) -> bool:
    """Sign the administrator in if the link's token is good; of two who open it at once, one is."""
    admin = _administrators().select_for_update().first()
    try:
        is_good = _tokens.check_token(admin, _signer.unsign(token, max_age=_MAX_AGE_SECONDS))
    except signing.BadSignature:
        is_good = False
    if admin is not None and is_good:
        login(request, admin)
        logger.info("%s signed in by the link printed at the start", admin)
    return is_good


def _administrators() -> QuerySet[User]:
    return User.objects.filter(is_superuser=True, is_active=True).order_by("pk")
