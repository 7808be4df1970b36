"""Training and the registry in the admin."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from titanic_site.lib.admin import JobAdmin, ReadOnlyAdmin
from titanic_site.lib.errors import TitanicError
from training import registry
from training.models import ModelVersion, StageChange, TrainingRun


@admin.register(TrainingRun)
class TrainingRunAdmin(JobAdmin):
    """Training runs."""


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyAdmin):
    """Versions; their stage changes through the registry only."""

    list_display = ("__str__", "stage", "run", "sha256", "created_at")
    list_filter = ("stage",)
    list_select_related = ("run",)
    actions = ("promote",)

    @admin.action(description=gettext_lazy("Put in charge"))
    def promote(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> None:
        """One version, into the champion's place."""
        if queryset.count() != 1:
            self.message_user(request, _("Choose one version."), messages.ERROR)
            return
        version = queryset.get()
        try:
            registry.promote(version, by=request.user, reason="From the admin.")  # type: ignore[arg-type]
        except TitanicError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            self.message_user(request, _("%(version)s is in charge.") % {"version": version})


@admin.register(StageChange)
class StageChangeAdmin(ReadOnlyAdmin):
    """Who put what in charge."""

    list_display = ("version", "before", "after", "by", "reason", "at")
    list_select_related = ("version", "by")
