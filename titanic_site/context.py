"""What the templates of all pages know."""

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest

from ingestion.passenger import SUBJECT


def visitor(request: HttpRequest) -> dict[str, object]:
    """Add whether the visitor may open more than the form, and the table's subject; listed before `auth`."""
    try:
        # A request that is rejected before the authentication middleware has no user.
        is_signed_in = hasattr(request, "user") and request.user.is_authenticated
    except (DatabaseError, InterfaceError):
        # The form works also while the session cannot be looked up.
        request.user = AnonymousUser()
        is_signed_in = False
    return {"sees_all_pages": is_signed_in or not settings.LOGIN_REQUIRED, "subject": SUBJECT}
