"""The pages of users, for administrators."""

from dataclasses import dataclass

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from core.errors import Conflict, Forbidden
from core.pagination import page
from core.roles import ROLE_LABELS, Scope, requires
from core.sign_in import sends_mail
from core.users import current_user
from core.views import Confirmation, confirm
from titanic_site import accounts
from titanic_site.forms import InviteForm, RoleForm, UserFilter
from titanic_site.models import AccessToken

_LINK_DAYS = settings.PASSWORD_RESET_TIMEOUT // 86_400


@dataclass(frozen=True)
class Row:
    """A user as the list shows them."""

    user: User
    role: str
    token_count: int
    is_changeable: bool


@requires(Scope.ADMIN, even_to_read=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def users(request: HttpRequest) -> HttpResponse:
    """List the users, and invite one by a link that is shown this once."""
    form = InviteForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        with transaction.atomic():
            invited = accounts.invite(**form.cleaned_data)
            link = accounts.password_link(invited)
        return _show_link(request, invited, link)
    filters = UserFilter(request.GET)
    listed = page(filters.users().prefetch_related("groups"), request)
    active = AccessToken.objects.filter(user__in=listed.rows).exclude(expiry__lte=timezone.now())
    counts = dict(active.order_by().values_list("user").annotate(count=Count("pk")))
    context = {
        "form": form,
        "filter": filters,
        "page": listed,
        "rows": [Row(user, _role(user), counts.get(user.pk, 0), not _refusal(request, user)) for user in listed.rows],
    }
    return render(request, "user_list.html", context, status=400 if form.errors or filters.errors else 200)


@requires(Scope.ADMIN, even_to_read=True)
@require_http_methods(["GET", "HEAD", "POST"])
def change_role(request: HttpRequest, pk: int) -> HttpResponse:
    """Give a user another role, once it is confirmed."""
    user = _changeable(request, pk)
    if user.is_superuser:
        raise Conflict(_("A superuser may do everything, whatever the role: take that away in the admin first."))
    initial = {"role": next(reversed(accounts.roles_of(user)), ""), "is_staff": user.is_staff}
    form = RoleForm(request.POST if request.method == "POST" else None, initial=initial)
    if form.is_valid():
        accounts.give_role(user, **form.cleaned_data)
        text = _("The role of %(user)s is changed: %(role)s.")
        messages.success(request, text % {"user": user, "role": ROLE_LABELS.get(form.cleaned_data["role"], _("none"))})
        return redirect("users")
    texts = [
        _("It takes effect at once, on pages, in the admin and for programs with a token of theirs."),
        _("Tokens of theirs do no more than the new role permits."),
    ]
    question = Confirmation(_("Change the role of %(user)s") % {"user": user}, texts, _("Change"), reverse("users"))
    return confirm(request, question, form=form)


@requires(Scope.ADMIN, even_to_read=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def password_link(request: HttpRequest, pk: int) -> HttpResponse:
    """Make a link by which a user sets a new password, once it is confirmed, and show it this once."""
    user = _changeable(request, pk)
    if not user.is_active:
        raise Conflict(_("The account of %(user)s is disabled: enable it first.") % {"user": user})
    if request.method == "POST":
        return _show_link(request, user, accounts.password_link(user))
    texts = [
        _("Whoever has the link sets the password of %(user)s: give it to nobody else.") % {"user": user},
        _("The present password works until the link is used, which also ends their sessions."),
    ]
    title = _("Make a link for a new password of %(user)s?") % {"user": user}
    return confirm(request, Confirmation(title, texts, _("Make the link"), reverse("users")))


@requires(Scope.ADMIN, even_to_read=True)
@require_http_methods(["GET", "HEAD", "POST"])
def disable(request: HttpRequest, pk: int) -> HttpResponse:
    """Disable a user's account, once it is confirmed."""
    user = _changeable(request, pk)
    if request.method == "POST":
        accounts.set_active(user, is_active=False)
        messages.success(request, _("The account of %(user)s is disabled.") % {"user": user})
        return redirect("users")
    texts = [
        _("%(user)s is signed out everywhere and cannot sign in.") % {"user": user},
        _("Their tokens are revoked, which cannot be undone: programs that use them stop working within seconds."),
        _("What they did stays, with their name. The account can be enabled again."),
    ]
    title = _("Disable the account of %(user)s?") % {"user": user}
    return confirm(request, Confirmation(title, texts, _("Disable"), reverse("users")))


@requires(Scope.ADMIN, even_to_read=True)
@require_http_methods(["GET", "HEAD", "POST"])
def enable(request: HttpRequest, pk: int) -> HttpResponse:
    """Enable a user's account again, once it is confirmed."""
    user = _changeable(request, pk)
    if request.method == "POST":
        accounts.set_active(user, is_active=True)
        messages.success(request, _("The account of %(user)s is enabled.") % {"user": user})
        return redirect("users")
    texts = [_("%(user)s signs in as before, with the role %(role)s.") % {"user": user, "role": _role(user)}]
    title = _("Enable the account of %(user)s?") % {"user": user}
    return confirm(request, Confirmation(title, texts, _("Enable"), reverse("users")))


def _show_link(request: HttpRequest, user: User, link: str) -> HttpResponse:
    link = request.build_absolute_uri(link)
    is_mailed = bool(user.email) and sends_mail()
    is_accepted = is_mailed and accounts.mail_link(user, link=link, days=_LINK_DAYS)
    context = {"invited": user, "link": link, "days": _LINK_DAYS, "is_mailed": is_mailed, "is_accepted": is_accepted}
    return render(request, "user_link.html", context)


def _changeable(request: HttpRequest, pk: int) -> User:
    """Return a user whose account the request may change; raises Http404, Conflict, Forbidden."""
    user = get_object_or_404(User.objects.prefetch_related("groups"), pk=pk)
    if refusal := _refusal(request, user):
        raise refusal
    return user


def _refusal(request: HttpRequest, user: User) -> Conflict | Forbidden | None:
    actor = current_user(request)
    if actor is None or actor.pk == user.pk:
        return Conflict(_("This is your own account: another administrator changes it."))
    if user.is_superuser and not actor.is_superuser:
        return Forbidden(_("Only a superuser changes the account of a superuser."))
    return None


def _role(user: User) -> str:
    labels = [str(ROLE_LABELS[role]) for role in accounts.roles_of(user)]
    return ", ".join([_("Superuser")] if user.is_superuser else labels) or _("none")
