"""What the templates of all pages know."""

from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest

from core.roles import scopes_of
from ingestion.passenger import SUBJECT


def visitor(request: HttpRequest) -> dict[str, object]:
    """Add what the visitor may do, and the table's subject; listed before `auth`."""
    try:
        # A request that is rejected before the authentication middleware has no user.
        scopes = scopes_of(request.user) if hasattr(request, "user") else frozenset()
    except (DatabaseError, InterfaceError):
        # The form works also while the session cannot be looked up.
        request.user = AnonymousUser()
        scopes = scopes_of(request.user)
    return {"scopes": scopes, "subject": SUBJECT}
