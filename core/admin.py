"""Jobs in the admin: to be looked at and started again, not typed over.

An action asks for a permission, or Django offers it to everybody who may look: `operate` stands for Django's change
permission where rows themselves cannot be changed.
"""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_permission_codename
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin

from core.errors import TitanicError
from core.jobs import Job, enqueue


class ReadOnlyAdmin(ModelAdmin):
    """What the system wrote; a person only reads it."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether this person may run the actions: who may change such rows, though none is typed over."""
        return bool(request.user.has_perm(f"{self.opts.app_label}.{get_permission_codename('change', self.opts)}"))


class JobAdmin(ReadOnlyAdmin):
    """A kind of job."""

    list_display: tuple[str, ...] = ("__str__", "state", "progress", "error", "created_at", "finished_at")
    list_filter: tuple[Any, ...] = ("state",)
    actions: tuple[str, ...] = ("start_again", "cancel")

    @admin.action(permissions=["operate"], description=gettext_lazy("Start again"))
    def start_again(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """New rows with the same inputs."""
        for job in queryset:
            try:
                enqueue(job.rerun())
            except TitanicError as error:
                self.message_user(request, f"{job}: {error.message}", messages.ERROR)
            else:
                self.message_user(request, _("%(job)s started again.") % {"job": job})

    @admin.action(permissions=["operate"], description=gettext_lazy("Cancel"))
    def cancel(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Stop what is open."""
        for job in queryset:
            try:
                job.cancel()
            except TitanicError as error:
                self.message_user(request, f"{job}: {error.message}", messages.ERROR)
            else:
                self.message_user(request, _("%(job)s cancelled.") % {"job": job})
