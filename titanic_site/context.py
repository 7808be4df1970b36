"""What every page knows of its visitor."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest


def visitor(request: HttpRequest) -> dict[str, Any]:
    """Tell whether the visitor may open more than the form; listed before `auth`."""
    try:
        # A request refused before it was asked who sends it has no user.
        is_signed_in = hasattr(request, "user") and request.user.is_authenticated
    except (DatabaseError, InterfaceError):
        # The form's answer is shown also while it cannot be looked up who asks.
        request.user = AnonymousUser()
        is_signed_in = False
    return {"sees_all_pages": is_signed_in or not settings.LOGIN_REQUIRED}
