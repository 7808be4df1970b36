"""Jobs in the admin: read-only, with actions to cancel them and run them again."""

from collections.abc import Callable

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
    """Rows that only the system writes."""

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_operate_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Tell whether the user may run the actions: Django's change permission, though no row is edited."""
        return bool(request.user.has_perm(f"{self.opts.app_label}.{get_permission_codename('change', self.opts)}"))


class JobAdmin(ReadOnlyAdmin):
    """A job."""

    list_display: tuple[str, ...] = ("__str__", "state", "progress", "error", "created_at", "finished_at")
    list_filter: tuple[object, ...] = ("state",)
    actions: tuple[str, ...] = ("rerun", "cancel")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        """Leave out what belongs to somebody else, unless the user may operate."""
        jobs: QuerySet[Job] = super().get_queryset(request).visible_to(request)
        return jobs

    @admin.action(permissions=["operate"], description=gettext_lazy("Start again"))
    def rerun(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Queue new jobs with the same inputs."""
        self._apply(request, queryset, lambda job: enqueue(job.rerun()), _("%(job)s started again."))

    @admin.action(permissions=["operate"], description=gettext_lazy("Cancel"))
    def cancel(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Cancel those that are queued or running."""
        self._apply(request, queryset, lambda job: job.cancel(), _("%(job)s cancelled."))

    def _apply(self, request: HttpRequest, jobs: QuerySet[Job], act: Callable[[Job], None], text: str) -> None:
        for job in jobs:
            try:
                act(job)
            except TitanicError as error:
                self.message_user(request, f"{job}: {error.message}", messages.ERROR)
            else:
                self.message_user(request, text % {"job": job})
