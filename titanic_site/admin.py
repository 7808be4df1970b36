"""Users, tokens and schedules in the admin, in its theme."""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django_celery_beat import admin as beat
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

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


@admin.register(PeriodicTask)
class ThemedPeriodicTaskAdmin(beat.PeriodicTaskAdmin, ModelAdmin):
    """What runs by itself."""


@admin.register(IntervalSchedule)
class ThemedIntervalAdmin(ModelAdmin):
    """Every so often."""


@admin.register(CrontabSchedule)
class ThemedCrontabAdmin(beat.CrontabScheduleAdmin, ModelAdmin):
    """By the calendar."""


@admin.register(AccessToken)
class AccessTokenAdmin(ReadOnlyAdmin):
    """API tokens: made by `create_token`, revoked here."""

    list_display = ("token_key", "user", "note", "created", "expiry")
    list_select_related = ("user",)

    def has_delete_permission(self, request: object, obj: object = None) -> bool:
        return True
