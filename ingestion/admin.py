"""Ingestion in the admin."""

from typing import Any

from django.contrib import admin, messages
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin

from core.admin import JobAdmin, ReadOnlyAdmin
from core.errors import TitanicError
from core.jobs import enqueue
from ingestion import retention, services, sources
from ingestion.forms import OperatorSourceForm
from ingestion.models import INGEST_OPTIONS, Dataset, Passenger, RefusedRow, RowProblem, Source


@admin.register(Source)
class SourceAdmin(ModelAdmin):
    """Where tables come from; here, and only here, a database may be named."""

    form = OperatorSourceForm
    list_display = ("name", "address", "is_enabled", "has_label", "checked_at", "error")
    list_select_related = ("schedule",)
    actions = ("ingest_now",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Who may only look sees the address without its password."""
        if self._is_only_seen(request, obj):
            return ("name", "address", *INGEST_OPTIONS, "keep_count")
        return super().get_fields(request, obj)

    def get_form(self, request: HttpRequest, obj: Any = None, change: Any = False, **kwargs: Any) -> Any:  # noqa: FBT002
        """Who may only look has no fields to fill in."""
        if self._is_only_seen(request, obj):
            kwargs["form"] = ModelForm
        return super().get_form(request, obj, change, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: OperatorSourceForm, change: Any) -> None:
        """With its schedule."""
        form.keep()

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """With its schedule."""
        sources.remove(obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """With their schedules."""
        for source in queryset:
            sources.remove(source)

    @admin.display(boolean=True, description=gettext_lazy("looked at by itself"))
    def is_enabled(self, source: Source) -> bool:
        """Whether its schedule is on."""
        return source.is_enabled

    @admin.action(permissions=["change"], description=gettext_lazy("Ingest now"))
    def ingest_now(self, request: HttpRequest, queryset: Any) -> None:
        """Load what is there, new or not."""
        for source in queryset:
            dataset = services.queue_source(source)
            enqueue(dataset)
            self.message_user(request, _("%(dataset)s: the ingest has begun.") % {"dataset": dataset})

    def _is_only_seen(self, request: HttpRequest, source: Source | None) -> bool:
        return source is not None and not self.has_change_permission(request, source)


@admin.register(Dataset)
class DatasetAdmin(JobAdmin):
    """Datasets."""

    list_display = ("__str__", "name", "state", "row_count", "problem_count", "error", "archived_at", "created_at")
    list_filter = ("state", "source")
    exclude = ("uri",)
    readonly_fields = ("address",)
    actions = (*JobAdmin.actions, "archive")

    @admin.action(permissions=["operate"], description=gettext_lazy("Archive"))
    def archive(self, request: HttpRequest, queryset: Any) -> None:
        """Drop the rows, keep what they were."""
        for dataset in queryset:
            try:
                retention.archive(dataset)
            except TitanicError as error:
                self.message_user(request, error.message, messages.ERROR)
            else:
                self.message_user(request, _("%(dataset)s archived.") % {"dataset": dataset})


@admin.register(Passenger)
class PassengerAdmin(ReadOnlyAdmin):
    """Passengers; no total is counted, tables may be long."""

    list_display = ("passenger_id", "__str__", "survived", "is_holdout", "dataset")
    list_select_related = ("dataset",)
    show_full_result_count = False


@admin.register(RowProblem)
class RowProblemAdmin(ReadOnlyAdmin):
    """Refused rows."""

    list_display = ("line_number", "column", "value", "reason", "dataset")
    list_select_related = ("dataset",)
    show_full_result_count = False


@admin.register(RefusedRow)
class RefusedRowAdmin(ReadOnlyAdmin):
    """Refused rows as they stood; they are mended on the dataset's page."""

    list_display = ("__str__", "dataset", "mended_at")
    list_filter = (("mended_at", admin.EmptyFieldListFilter),)
    list_select_related = ("dataset",)
    show_full_result_count = False
