"""Roles and scopes: what a person or a token may do, alike on pages, in the admin and in the API."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AnonymousUser, User
from django.db import models
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext_lazy
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


class Scope(models.TextChoices):
    """What a view may require."""

    READ = "read", gettext_lazy("Read: datasets, models, predictions, runs, monitoring")
    PREDICT = "predict", gettext_lazy("Predict: request predictions, score files, record outcomes")
    OPERATE = "operate", gettext_lazy("Operate: load, build, train, promote, check, schedule")
    ADMIN = "admin", gettext_lazy("Administer: users, tokens of others, sources in databases")


Scopes = frozenset[Scope]
AnyUser = AbstractBaseUser | AnonymousUser
View = TypeVar("View", bound=Callable[..., HttpResponseBase])

ALL: Scopes = frozenset(Scope)
#: The scopes of each role; a role is the Django group of that name.
ROLES: Mapping[str, Scopes] = {
    "viewer": frozenset({Scope.READ}),
    "analyst": frozenset({Scope.READ, Scope.PREDICT}),
    "operator": frozenset({Scope.READ, Scope.PREDICT, Scope.OPERATE}),
    "administrator": ALL,
}
ROLE_LABELS: "Mapping[str, StrOrPromise]" = {
    "viewer": gettext_lazy("Viewer"),
    "analyst": gettext_lazy("Analyst"),
    "operator": gettext_lazy("Operator"),
    "administrator": gettext_lazy("Administrator"),
}
#: Permissions of Django's models that only an administrator has: who may do what, who did, and who is signed in.
_ADMIN_APPS = frozenset({"auth", "core", "sessions", "titanic_site"})


def requires(scope: Scope, *, even_to_read: bool = False) -> Callable[[View], View]:
    """Declare the scope that a view requires for a change, or even to be read: a page that is nothing but a form."""

    def decorate(view: View) -> View:
        view.scope = scope  # type: ignore[attr-defined]
        view.read_scope = scope if even_to_read else Scope.READ  # type: ignore[attr-defined]
        return view

    return decorate


def public_form(view: View) -> View:
    """Open the form's pages to anybody, unless PUBLIC_FORM=false."""
    view.is_form = True  # type: ignore[attr-defined]
    return login_not_required(view)


def required_scope(view: object, method: str | None) -> Scope:
    """Return the scope that a view requires: to read for a safe method, else to operate, unless it declares others."""
    is_read = method in SAFE_METHODS
    scope: Scope = getattr(view, "read_scope", Scope.READ) if is_read else getattr(view, "scope", Scope.OPERATE)
    return scope


def scopes_of(user: AnyUser) -> Scopes:
    """Return the scopes of a user's roles: none of an anonymous one."""
    if not isinstance(user, User) or not user.is_active:
        return frozenset()
    if user.is_superuser:
        return ALL
    # One query for each request, or each time a token is looked up.
    scopes: Scopes | None = getattr(user, "role_scopes", None)
    if scopes is None:
        names = user.groups.values_list("name", flat=True)
        scopes = frozenset[Scope]().union(*(ROLES.get(name, frozenset()) for name in names))
        user.role_scopes = scopes  # type: ignore[attr-defined]
    return scopes


def scopes_of_request(request: HttpRequest | Request) -> Scopes:
    """Return the scopes of a call's token or of a page's user.

    With LOGIN_REQUIRED=false every visitor operates the pages, with API_ALLOW_ANONYMOUS calls without a token operate.
    """
    if not isinstance(request, Request):
        return scopes_of(request.user) | (frozenset() if settings.LOGIN_REQUIRED else ROLES["operator"])
    if request.auth is None:
        return ROLES["operator"] if settings.API_ALLOW_ANONYMOUS else frozenset()
    scopes: Scopes = getattr(request.auth, "scopes", frozenset())
    return scopes


def permission_scope(permission: str) -> Scope:
    """Return the scope that stands for a permission of Django's, as the admin asks for them.

    >>> permission_scope("training.view_modelversion"), permission_scope("training.change_modelversion")
    (Scope.READ, Scope.OPERATE)
    >>> permission_scope("auth.view_user")
    Scope.ADMIN
    """
    app, _, codename = permission.partition(".")
    if app in _ADMIN_APPS:
        return Scope.ADMIN
    return Scope.READ if codename.startswith("view_") else Scope.OPERATE


class RoleBackend(ModelBackend):
    """Signs in by password; permissions come from the user's role, never from one that was given by itself."""

    def has_perm(self, user_obj: AnyUser, perm: str, obj: models.Model | None = None) -> bool:
        """Tell whether the user's role has the scope that stands for the permission."""
        return permission_scope(perm) in scopes_of(user_obj)

    def has_module_perms(self, user_obj: AnyUser, app_label: str) -> bool:
        """Tell whether the user may see the app in the admin."""
        return self.has_perm(user_obj, f"{app_label}.view_")

    def get_all_permissions(self, user_obj: AnyUser, obj: models.Model | None = None) -> set[str]:
        """Return none: roles have no rows of permissions."""
        return set()
