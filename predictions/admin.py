"""Predictions in the admin."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.admin import ModelAdmin

from core.admin import JobAdmin, ReadOnlyAdmin
from predictions import log
from predictions.models import DeadLetter, Outcome, Prediction, PredictionCount, ScoringJob, ScoringPart, ShadowScore


@admin.register(Prediction)
class PredictionAdmin(ReadOnlyAdmin):
    """The prediction log."""

    list_display = (
        "id", "summary", "predicted", "probability", "model_version", "source", "anonymous", "reference", "created_at",
    )  # fmt: skip
    list_filter = ("predicted", "source", "anonymous")
    # Exactly as they were sent: the indexes know nothing else.
    search_fields = ("id__exact", "reference__exact")


@admin.register(ScoringJob)
class ScoringJobAdmin(JobAdmin):
    """Scored files."""

    list_display = ("__str__", "name", "created_by", "state", "row_count", "problem_count", "error", "created_at")
    list_select_related = ("created_by",)
    search_fields = ("name", "created_by__username")


@admin.register(ScoringPart)
class ScoringPartAdmin(ReadOnlyAdmin):
    """Parts of scored files."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[ScoringPart]:
        """Leave out the parts of somebody else's file, unless the user may operate."""
        parts: QuerySet[ScoringPart] = super().get_queryset(request)
        return parts.filter(job__in=ScoringJob.objects.visible_to(request))

    list_display = ("__str__", "is_done", "row_count", "problem_count", "line")
    list_filter = ("is_done",)
    list_select_related = ("job",)


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    """Entries that the prediction log could not store."""

    list_display = ("entry_id", "error", "attempts", "created_at")
    search_fields = ("entry_id", "error")
    fields = ("entry_id", "error", "attempts", "created_at", "content")
    readonly_fields = ("content",)
    actions = ("try_again",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let an operator delete what cannot be stored, so that its alert ends."""
        return bool(ModelAdmin.has_delete_permission(self, request, obj))

    @admin.display(description=gettext_lazy("content"))
    def content(self, letter: DeadLetter) -> str:
        """The bytes, as Python writes them."""
        return repr(bytes(letter.raw))

    @admin.action(permissions=["operate"], description=gettext_lazy("Try again"))
    def try_again(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        """Store them now, once a person has confirmed it."""
        texts = [_("What can be stored leaves this list and stands in the prediction log.")]
        if question := self.ask(request, queryset, title=_("Store these predictions?"), consequences=texts):
            return question
        stored = [log.retry(letter) for letter in queryset]
        done, left = sum(stored), len(stored) - sum(stored)
        if done:
            message = ngettext("%(count)s prediction stored.", "%(count)s predictions stored.", done)
            self.message_user(request, message % {"count": done})
        if left:
            text = _("%(count)s could not be stored: the column “error” says why.")
            self.message_user(request, text % {"count": left}, messages.ERROR)
        return None


@admin.register(ShadowScore)
class ShadowScoreAdmin(ReadOnlyAdmin):
    """Shadow scores of challengers."""

    list_display = ("prediction_id", "model_version", "probability", "predicted", "created_at")
    # Not by model: to list those that there are, all rows would be read.
    list_filter = ("predicted",)
    search_fields = ("prediction_id__exact",)


@admin.register(Outcome)
class OutcomeAdmin(ReadOnlyAdmin):
    """Outcomes."""

    list_display = ("prediction_id", "actual", "by", "recorded_at")
    list_filter = ("actual",)
    search_fields = ("prediction_id__exact",)
    list_select_related = ("by",)


@admin.register(PredictionCount)
class PredictionCountAdmin(ReadOnlyAdmin):
    """How many predictions were ever stored."""

    list_display = ("model_version", "predicted", "source", "count", "counted_at")
    list_filter = ("source",)
