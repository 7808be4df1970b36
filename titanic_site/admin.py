"""Users, tokens and schedules in the admin, in its theme."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django_celery_beat import admin as beat
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from titanic_site.lib.admin import ReadOnlyAdmin
from titanic_site.models import AccessToken

for model in (User, Group, PeriodicTask, IntervalSchedule, CrontabSchedule, SolarSchedule, ClockedSchedule):
    admin.site.unregister(model)


@admin.register(User)
class ThemedUserAdmin(UserAdmin, ModelAdmin):
    """People."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class ThemedGroupAdmin(GroupAdmin, ModelAdmin):
    """Their roles."""


class ThemedTaskSelect(UnfoldAdminSelectWidget, beat.TaskSelectWidget):
    """The registered tasks."""


class PeriodicTaskForm(beat.PeriodicTaskForm):
    """A schedule; the scheduler declares these two fields itself, so the theme does not reach them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = ThemedTaskSelect()


@admin.register(PeriodicTask)
class ThemedPeriodicTaskAdmin(beat.PeriodicTaskAdmin, ModelAdmin):
    """What runs by itself."""

    form = PeriodicTaskForm


@admin.register(IntervalSchedule)
class ThemedIntervalAdmin(ModelAdmin):
    """Every so often."""


@admin.register(CrontabSchedule)
class ThemedCrontabAdmin(beat.CrontabScheduleAdmin, ModelAdmin):
    """By the calendar."""


@admin.register(SolarSchedule)
class ThemedSolarAdmin(ModelAdmin):
    """By the sun."""


@admin.register(ClockedSchedule)
class ThemedClockedAdmin(beat.ClockedScheduleAdmin, ModelAdmin):
    """Once."""


@admin.register(AccessToken)
class AccessTokenAdmin(ReadOnlyAdmin):
    """API tokens: made by `create_token`, revoked here."""

    list_display = ("token_key", "user", "note", "created", "expiry")
    list_select_related = ("user",)

    def has_delete_permission(self, request: object, obj: object = None) -> bool:
        return True
