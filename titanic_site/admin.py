"""Users, tokens and schedules in the admin, in its theme."""

from collections.abc import Iterable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy
from django_celery_beat import admin as beat
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from core import audit
from core.admin import AuditedAdmin
from core.errors import Forbidden
from core.models import Action
from core.roles import ROLE_LABELS, Scope, scopes_of, scopes_of_request
from titanic_site import accounts, schedules
from titanic_site.models import SCOPE_FIELDS, AccessToken

for model in (User, Group, PeriodicTask, IntervalSchedule, CrontabSchedule, SolarSchedule, ClockedSchedule):
    admin.site.unregister(model)


@admin.register(User)
class ThemedUserAdmin(UserAdmin, AuditedAdmin):  # type: ignore[misc]
    """Users."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        (_lazy("Personal info"), {"fields": ("first_name", "last_name", "email")}),
        (_lazy("Permissions"), {"fields": ("is_active", "is_staff", "is_superuser", "groups")}),
        (_lazy("Important dates"), {"fields": ("last_login", "date_joined")}),
    )
    list_display = ("username", "email", "roles", "is_active", "is_staff", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser", "groups")
    filter_horizontal = ("groups",)

    def view_on_site(self, obj: Model) -> str:
        return f"{reverse('users')}?{urlencode({'q': str(obj)})}"

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Fetch the roles of a page's users together."""
        users: QuerySet[User] = super().get_queryset(request).prefetch_related("groups")
        return users

    @admin.display(description=_lazy("Role"))
    def roles(self, user: User) -> str:
        """The roles of a user, most often one."""
        return ", ".join(str(ROLE_LABELS[role]) for role in accounts.roles_of(user)) or "–"

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Leave superusers to superusers: without one `up` prints no link."""
        if obj is not None and obj.is_superuser and not request.user.is_superuser:
            return False
        return bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Let a superuser delete users, one by one; others end their access, which keeps what refers to them."""
        return bool(obj and request.user.is_superuser and super().has_delete_permission(request, obj))

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        return ("last_login", "date_joined") + (() if request.user.is_superuser else ("is_superuser",))

    def save_related(self, request: HttpRequest, form: ModelForm, formsets: object, change: bool) -> None:  # noqa: FBT001 - Django passes it by place
        """Save the roles; leave an administrator, and nothing of a disabled account's access."""
        super().save_related(request, form, formsets, change)
        if change:
            if not form.instance.is_active:
                accounts.end_access(form.instance)
            accounts.require_administrator(is_superuser=bool(form.initial.get("is_superuser")))

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        """Delete a user, unless that is the last administrator."""
        super().delete_model(request, obj)
        accounts.require_administrator(is_superuser=getattr(obj, "is_superuser", False))

    def log_addition(self, request: HttpRequest, obj: Model, message: object) -> LogEntry:
        """Leave the audit trail to `core.account_audit`: Django's own commands add users too."""
        return ModelAdmin.log_addition(self, request, obj, message)


@admin.register(Group)
class ThemedGroupAdmin(GroupAdmin, AuditedAdmin):  # type: ignore[misc]
    """Roles, which are fixed: a user's page gives them."""

    fields = ("name",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return False

    has_delete_permission = has_change_permission


class ThemedTaskSelect(UnfoldAdminSelectWidget, beat.TaskSelectWidget):
    """The registered tasks, in the theme."""


class PeriodicTaskForm(beat.PeriodicTaskForm):
    """A schedule; django-celery-beat declares these two fields itself, so the theme does not reach them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = ThemedTaskSelect()


def _may_change(request: HttpRequest, tasks: Iterable[PeriodicTask]) -> bool:
    return schedules.may_change(tasks, scopes=scopes_of_request(request))


def _audited(action: Any) -> Any:
    """Require a permission and a confirmation for an action of django-celery-beat's, and record it."""

    @wraps(action)
    def run(model_admin: Any, request: HttpRequest, tasks: QuerySet[PeriodicTask]) -> HttpResponse | None:
        kind = Action.RUN if action.__name__ == "run_tasks" else Action.CHANGED
        if kind is Action.CHANGED and not _may_change(request, tasks):
            raise Forbidden
        title = _("%(action)s?") % {"action": action.short_description}
        question: HttpResponse | None = model_admin.ask(request, tasks, title=title, consequences=())
        if question:
            return question
        with transaction.atomic():
            for task in tasks:
                after = {"action": action.short_description}
                audit.record(kind, task, before={"enabled": task.enabled}, after=after)
            action(model_admin, request, tasks)
        return None

    return admin.action(permissions=["change"], description=action.short_description)(run)


for name in beat.PeriodicTaskAdmin.actions:
    setattr(beat.PeriodicTaskAdmin, name, _audited(getattr(beat.PeriodicTaskAdmin, name)))


@admin.register(PeriodicTask)
class ThemedPeriodicTaskAdmin(beat.PeriodicTaskAdmin, AuditedAdmin):
    """Schedules."""

    form = PeriodicTaskForm
    list_display = ("name", "enabled", "scheduler", "queue", "last_run_at")

    def view_on_site(self, obj: Model) -> str:
        return reverse("schedule", args=[obj.pk])

    def has_change_permission(self, request: HttpRequest, obj: PeriodicTask | None = None) -> bool:
        """Tell whether the person may change schedules, or this one."""
        return bool(super().has_change_permission(request, obj)) and _may_change(request, [obj] if obj else [])

    def has_delete_permission(self, request: HttpRequest, obj: PeriodicTask | None = None) -> bool:
        """Tell whether the person may delete schedules, or this one."""
        return bool(super().has_delete_permission(request, obj)) and _may_change(request, [obj] if obj else [])

    # Its own has an inline script, to say a crontab in words while one is chosen.
    change_form_template = None


@admin.register(IntervalSchedule, SolarSchedule)
class ThemedScheduleAdmin(AuditedAdmin):
    """Intervals, sunrise, sunset and the like."""


@admin.register(CrontabSchedule)
class ThemedCrontabAdmin(beat.CrontabScheduleAdmin, AuditedAdmin):
    """Crontabs."""


@admin.register(ClockedSchedule)
class ThemedClockedAdmin(beat.ClockedScheduleAdmin, AuditedAdmin):
    """Single moments."""


@admin.register(AccessToken)
class AccessTokenAdmin(AuditedAdmin):
    """API tokens: made here or by `create_token`, shown once, revoked by deleting them."""

    list_display = ("token_key", "user", "note", *SCOPE_FIELDS, "created", "expiry")
    list_filter = SCOPE_FIELDS
    search_fields = ("note", "user__username", "token_key__startswith")
    list_select_related = ("user",)
    fields = ("user", "note", *SCOPE_FIELDS, "expiry")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(scopes_of(request.user))

    def has_view_permission(self, request: HttpRequest, obj: AccessToken | None = None) -> bool:
        """Let everybody with a role have tokens: their own, or an administrator all."""
        return self.has_module_permission(request)

    has_add_permission = has_module_permission
    has_change_permission = has_delete_permission = has_view_permission

    def get_queryset(self, request: HttpRequest) -> QuerySet[AccessToken]:
        """Show a user's own tokens, and an administrator all."""
        tokens: QuerySet[AccessToken] = super().get_queryset(request)
        return tokens if Scope.ADMIN in scopes_of(request.user) else tokens.filter(user=request.user)

    def get_readonly_fields(self, request: HttpRequest, obj: AccessToken | None = None) -> tuple[str, ...]:
        return ("user",) if obj else ()

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer other users only to an administrator."""
        if Scope.ADMIN not in scopes_of(request.user):
            kwargs["queryset"] = User.objects.filter(username=request.user.get_username())
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: AccessToken, form: Any, change: bool) -> None:  # noqa: FBT001 - Django passes it by place
        """Let the manager make token and hash, and show the token this once."""
        if change:
            super().save_model(request, obj, form, change)
            return
        values = {name: getattr(obj, name) for name in ("note", *SCOPE_FIELDS)}
        row, token = AccessToken.objects.create(obj.user, **values)
        AccessToken.objects.filter(pk=row.pk).update(expiry=obj.expiry)
        obj.pk, obj.token_key, obj.created = row.pk, row.token_key, row.created
        self.message_user(request, _("The token, shown this once: %(token)s") % {"token": token}, messages.SUCCESS)
