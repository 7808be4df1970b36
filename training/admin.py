"""Training and the registry in the admin."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.admin import JobAdmin, ReadOnlyAdmin
from core.errors import TitanicError
from core.jobs import enqueue
from core.users import current_user
from training import registry, services
from training.forms import ANNOTATIONS, AnnotationForm
from training.models import ModelVersion, Reproduction, StageChange, TrainingRun


@admin.register(TrainingRun)
class TrainingRunAdmin(JobAdmin):
    """Training runs."""

    list_display = ("__str__", "algorithm", "state", "progress", "feature_batch", "error", "created_at", "finished_at")
    list_filter = ("state", "algorithm")
    list_select_related = ("feature_batch",)


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyAdmin):
    """Versions: tags and notes are edited here; their stage changes through the registry only."""

    list_display = ("__str__", "stage", "tags", "run", "sha256", "created_at")
    list_filter = ("stage",)
    search_fields = ("version__exact", "notes", "sha256__startswith")
    date_hierarchy = "created_at"
    list_select_related = ("run",)
    form = AnnotationForm
    # The model's own page shows what is measured.
    readonly_fields = (
        "version",
        "stage",
        "run",
        "threshold",
        "definition_version",
        "sha256",
        "byte_count",
        "created_at",
    )
    fields = (*ANNOTATIONS, *readonly_fields)
    actions = ("promote", "challenge", "retire", "reproduce")

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return self.has_operate_permission(request)

    @admin.action(permissions=["operate"], description=gettext_lazy("Promote"))
    def promote(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> HttpResponse | None:
        """Ask for a confirmation to promote one version, and for a reason where it failed the gate."""
        return self._confirm(request, queryset, "promote")

    @admin.action(permissions=["operate"], description=gettext_lazy("Start shadow scoring"))
    def challenge(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> HttpResponse | None:
        """Let one version score beside the champion, once a person has confirmed it."""
        version = self._one(request, queryset)
        if version is None:
            return None
        texts = [_("It scores the newest predictions too; nobody is answered by it.")]
        if question := self.ask(request, queryset, title=_("Start shadow scoring?"), consequences=texts):
            return question
        try:
            registry.start_shadow(version, by=current_user(request), reason=_("From the admin."))
        except TitanicError as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            result = {"version": version, "stage": version.get_stage_display()}
            self.message_user(request, _("%(version)s: %(stage)s.") % result)
        return None

    @admin.action(permissions=["operate"], description=gettext_lazy("Retire"))
    def retire(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> HttpResponse | None:
        """Ask for a confirmation to retire one version."""
        return self._confirm(request, queryset, "retire")

    @admin.action(permissions=["operate"], description=gettext_lazy("Reproduce and compare"))
    def reproduce(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> HttpResponse | None:
        """Start a reproduction of each version, once a person has confirmed it."""
        texts = [_("Each is trained once more from the same rows and compared; none is changed.")]
        if question := self.ask(request, queryset, title=_("Reproduce these versions?"), consequences=texts):
            return question
        for version in queryset:
            enqueue(services.queue_reproduction(version=version))
        self.message_user(request, _("%(count)s runs have begun.") % {"count": queryset.count()})
        return None

    def _confirm(self, request: HttpRequest, queryset: QuerySet[ModelVersion], page: str) -> HttpResponse | None:
        """Lead to the page that names the consequences."""
        version = self._one(request, queryset)
        return redirect(page, version.version) if version else None

    def _one(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> ModelVersion | None:
        if queryset.count() != 1:
            self.message_user(request, _("Choose one version."), messages.ERROR)
            return None
        return queryset.get()


@admin.register(Reproduction)
class ReproductionAdmin(JobAdmin):
    """Reproductions."""

    list_display = ("__str__", "state", "is_equal", "error", "created_at")
    list_select_related = ("version",)


@admin.register(StageChange)
class StageChangeAdmin(ReadOnlyAdmin):
    """Who changed which stage, when and why."""

    list_display = ("version", "before", "after", "by", "reason", "at")
    list_filter = ("after",)
    search_fields = ("version__version__exact", "reason", "by__username")
    date_hierarchy = "at"
    list_select_related = ("version", "by")
