"""What the templates of all pages know."""

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest

from core.roles import Scope, Scopes, scopes_of_request
from ingestion.passenger import SUBJECT


def visitor(request: HttpRequest) -> dict[str, object]:
    """Add what the visitor may do, and the table's subject; listed before `auth`."""
    try:
        # A request that is rejected before the authentication middleware has no user.
        scopes: Scopes = scopes_of_request(request) if hasattr(request, "user") else frozenset()
    except (DatabaseError, InterfaceError):
        # The form works also while the session cannot be looked up.
        request.user = AnonymousUser()
        scopes = scopes_of_request(request)
    return {"scopes": scopes, "may_predict": settings.PUBLIC_FORM or Scope.PREDICT in scopes, "subject": SUBJECT}
