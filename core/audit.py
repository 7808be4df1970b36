"""Record changes and sign-ins in the audit trail, within the transaction of the change."""

import getpass
import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import datetime
from uuid import UUID

from celery import current_task
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError, InterfaceError
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils.translation import override
from django_guid import get_guid

from core.models import Action, Actor, ActorKind, AuditEntry
from core.users import client_address

_LONGEST_VALUE = 200
_request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)


def remember_request(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Let `record` know the request that is being answered: a middleware."""

    def middleware(request: HttpRequest) -> HttpResponse:
        reset_token = _request.set(request)
        try:
            return get_response(request)
        finally:
            _request.reset(reset_token)

    return middleware


def record(
    action: Action,
    subject: Model | str,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    """Add an entry: who does this now is taken from the request, the task or the process.

    `subject` is the object, or a name where there is none; before and after are small values by name, never secrets.
    """
    entry = AuditEntry(**current_actor(), request_id=request_id(), action=action)
    # The trail is in one language, not in the actor's.
    with override(settings.LANGUAGE_CODE):
        entry.object_name, entry.before, entry.after = _text(subject), _small(before or {}), _small(after or {})
        if isinstance(subject, Model):
            entry.object_kind, entry.object_id = _text(subject._meta.verbose_name), _text(subject.pk)[:40]
            address = getattr(subject, "get_absolute_url", None)
            entry.object_url = address() if address else ""
    entry.save()


def request_id() -> str:
    """Return the id of the present request, or of the request that queued the present task."""
    guid = get_guid()
    # A client may write its own in any way that Python reads.
    return UUID(guid).hex if guid else ""


def is_anonymous() -> bool:
    """Tell whether the present request comes from nobody who signed in or sent a token, where people sign in."""
    request = _request.get()
    if request is None or not settings.LOGIN_REQUIRED:
        return False
    try:
        return not request.user.is_authenticated
    except (DatabaseError, InterfaceError):
        # The form works also while the session cannot be looked up.
        request.user = AnonymousUser()
        return True


def current_actor() -> Actor:
    """Return who acts: a user, a user's token, an anonymous visitor, a task, or the user of the command line."""
    request = _request.get()
    if request is None:
        is_task = current_task and not current_task.request.called_directly
        kind, name = (ActorKind.TASK, current_task.name) if is_task else (ActorKind.COMMAND, _system_user())
        return Actor(actor_kind=kind, actor=_text(name)[:150], token="", address="")
    # REST framework sets both on Django's request too. A request that failed before the sign-in was read has neither.
    user, token = getattr(request, "user", None), getattr(request, "auth", None)
    kind = ActorKind.TOKEN if token else ActorKind.USER if user and user.is_authenticated else ActorKind.ANONYMOUS
    return Actor(
        actor_kind=kind,
        actor=user.get_username() if user else "",
        token=token.token_key if token else "",
        address=_text(client_address(request))[:45],
    )


def delete_before(moment: datetime) -> int:
    """Delete older entries, and return how many those were."""
    return AuditEntry.objects.filter(at__lt=moment).delete()[0]


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user may have a number alone.
        return str(os.getuid())


def _small(values: Mapping[str, object]) -> dict[str, object]:
    return {
        name: value if value is None or isinstance(value, (bool, int)) else _text(value)
        for name, value in values.items()
    }


def _text(value: object) -> str:
    # Postgres takes no NUL.
    return str(value).replace("\0", "")[:_LONGEST_VALUE]
