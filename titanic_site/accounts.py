"""What people do with tokens: make and revoke them, recorded in the audit trail."""

from collections.abc import Iterable
from datetime import timedelta

from django.contrib.auth.models import User
from django.db import transaction

from core import audit
from core.models import Action
from core.roles import Scope
from titanic_site.models import AccessToken


@transaction.atomic
def make_token(user: User, *, scopes: Iterable[str], days: int | None, note: str) -> tuple[AccessToken, str]:
    """Make a token with these scopes and return its row and the token itself, which is kept nowhere."""
    granted = frozenset(scopes)
    row, token = AccessToken.objects.create(
        user,
        expiry=timedelta(days=days) if days else None,
        note=note[:100],
        **{f"can_{scope}": scope in granted for scope in Scope},
    )
    audit.record(Action.ADDED, row, after={"scopes": ", ".join(sorted(granted)), "expiry": row.expiry})
    return row, str(token)


@transaction.atomic
def revoke_token(row: AccessToken) -> None:
    """Delete a token; each process may use it for `core.tokens.CACHE_SECONDS` more."""
    audit.record(Action.DELETED, row)
    row.delete()
