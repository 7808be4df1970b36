"""Training and the registry in the admin."""

from collections.abc import Callable

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.admin import JobAdmin, ReadOnlyAdmin
from core.errors import TitanicError
from core.jobs import enqueue
from training import registry, services
from training.models import ModelVersion, Reproduction, StageChange, TrainingRun


@admin.register(TrainingRun)
class TrainingRunAdmin(JobAdmin):
    """Training runs."""


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyAdmin):
    """Versions; their stage changes through the registry only."""

    list_display = ("__str__", "stage", "run", "sha256", "created_at")
    list_filter = ("stage",)
    list_select_related = ("run",)
    actions = ("promote", "challenge", "retire", "reproduce")

    @admin.action(permissions=["operate"], description=gettext_lazy("Promote"))
    def promote(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> None:
        """Promote one version to champion."""
        self._move(request, queryset, registry.promote)

    @admin.action(permissions=["operate"], description=gettext_lazy("Start shadow scoring"))
    def challenge(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> None:
        """Let one version score beside the champion."""
        self._move(request, queryset, registry.start_shadow)

    @admin.action(permissions=["operate"], description=gettext_lazy("Retire"))
    def retire(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> None:
        """Retire one version."""
        self._move(request, queryset, registry.retire)

    @admin.action(permissions=["operate"], description=gettext_lazy("Reproduce and compare"))
    def reproduce(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> None:
        """Start a reproduction of each version."""
        for version in queryset:
            enqueue(services.queue_reproduction(version=version))
        self.message_user(request, _("%(count)s runs have begun.") % {"count": queryset.count()})

    def _move(self, request: HttpRequest, queryset: QuerySet[ModelVersion], move: Callable[..., None]) -> None:
        if queryset.count() != 1:
            self.message_user(request, _("Choose one version."), messages.ERROR)
            return
        version = queryset.get()
        try:
            move(version, by=request.user, reason=_("From the admin."))
        except TitanicError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            result = {"version": version, "stage": version.get_stage_display()}
            self.message_user(request, _("%(version)s: %(stage)s.") % result)


@admin.register(Reproduction)
class ReproductionAdmin(JobAdmin):
    """Reproductions."""

    list_display = ("__str__", "state", "is_equal", "error", "created_at")
    list_select_related = ("version",)


@admin.register(StageChange)
class StageChangeAdmin(ReadOnlyAdmin):
    """Who changed which stage, when and why."""

    list_display = ("version", "before", "after", "by", "reason", "at")
    list_select_related = ("version", "by")
