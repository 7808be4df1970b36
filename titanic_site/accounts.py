"""What people do with accounts and tokens, recorded in the audit trail."""

from collections.abc import Iterable
from datetime import timedelta

from django.contrib.auth.models import Group, User
from django.contrib.auth.tokens import default_token_generator
from django.contrib.sessions.models import Session
from django.core.mail import EmailMessage
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.utils.translation import gettext as _

from core import audit
from core.advisory_locks import AdvisoryLock, lock
from core.errors import Conflict
from core.models import Action
from core.roles import ROLES, Scope
from titanic_site.models import AccessToken

_ADMINISTRATORS = [role for role, scopes in ROLES.items() if Scope.ADMIN in scopes]


@transaction.atomic
def invite(*, username: str, email: str, role: str, is_staff: bool) -> User:
    """Make an account without a password; raises Conflict where somebody else took the name meanwhile."""
    try:
        with transaction.atomic():
            user = User.objects.create_user(username, email)
    except IntegrityError as error:
        raise Conflict(_("This name is taken: choose another.")) from error
    give_role(user, role=role, is_staff=is_staff)
    return user


def password_link(user: User) -> str:
    """Make a link, without its host, by which a user sets a password, once and within PASSWORD_RESET_TIMEOUT."""
    audit.record(Action.PASSWORD_LINK, user)
    uid, token = urlsafe_base64_encode(force_bytes(user.pk)), default_token_generator.make_token(user)
    return reverse("password_reset_confirm", args=[uid, token])


def mail_link(user: User, *, link: str, days: int) -> bool:
    """Send a user the link; return whether the mail server took it."""
    text = _(
        "Open this link and set your password for Titanic MLOps, where you sign in as %(name)s. It works once, for "
        "%(days)s days:"
    )
    body = f"{text % {'name': user.username, 'days': days}}\n\n{link}\n"
    try:
        return bool(EmailMessage(_("Your account at Titanic MLOps"), body, to=[user.email]).send())
    except OSError:
        # What smtplib raises is one too.
        return False


@transaction.atomic
def give_role(user: User, *, role: str, is_staff: bool) -> None:
    """Give a user this one role, or none, and say whether the admin opens to them; raises Conflict."""
    lock(AdvisoryLock.ADMINISTRATORS)
    before = {"role": ", ".join(roles_of(user)), "is_staff": user.is_staff}
    user.groups.remove(*Group.objects.filter(name__in=ROLES))
    if role:
        user.groups.add(Group.objects.get(name=role))
    user.is_staff = is_staff
    user.save(update_fields=["is_staff"])
    audit.record(Action.CHANGED, user, before=before, after={"role": role, "is_staff": is_staff})
    require_administrator()


@transaction.atomic
def set_active(user: User, *, is_active: bool) -> None:
    """Disable a user's account, which ends its sessions and tokens, or enable it; raises Conflict."""
    lock(AdvisoryLock.ADMINISTRATORS)
    if not User.objects.filter(pk=user.pk, is_active=not is_active).update(is_active=is_active):
        return
    audit.record(Action.CHANGED, user, before={"is_active": not is_active}, after={"is_active": is_active})
    if not is_active:
        end_access(user)
        require_administrator(is_superuser=user.is_superuser)


def end_access(user: User) -> None:
    """Delete a user's sessions and tokens."""
    for token in AccessToken.objects.filter(user=user):
        revoke_token(token)
    sessions = Session.objects.filter(expire_date__gt=timezone.now())
    theirs = [session.pk for session in sessions.iterator() if _user_of(session) == str(user.pk)]
    Session.objects.filter(pk__in=theirs).delete()


def require_administrator(*, is_superuser: bool = False) -> None:
    """Raise Conflict, within the transaction of a change, where no administrator is left, or no superuser."""
    lock(AdvisoryLock.ADMINISTRATORS)
    may_administer = (
        Q(is_superuser=True) if is_superuser else Q(is_superuser=True) | Q(groups__name__in=_ADMINISTRATORS)
    )
    if not User.objects.filter(may_administer, is_active=True).exists():
        raise Conflict(_("This is the last administrator: make another one first."))


def roles_of(user: User) -> list[str]:
    """Return the roles of a user, most often one."""
    names = {group.name for group in user.groups.all()}
    return [role for role in ROLES if role in names]


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


def _user_of(session: Session) -> str:
    return str(session.get_decoded().get("_auth_user_id", ""))
