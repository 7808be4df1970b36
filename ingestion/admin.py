"""Ingestion in the admin."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.admin import BaseAdmin, JobAdmin, ReadOnlyAdmin
from core.errors import TitanicError
from core.jobs import enqueue
from core.roles import Scope, scopes_of_request
from ingestion import retention, services, sources
from ingestion.forms import DatabaseSourceForm, SourceForm
from ingestion.models import INGEST_OPTIONS, Dataset, Passenger, RejectedRow, RowProblem, Source
from ingestion.passenger import KEY, LABEL


@admin.register(Source)
class SourceAdmin(BaseAdmin):
    """Sources; only here, and by an administrator, may the address be a database."""

    form = DatabaseSourceForm
    list_display = ("name", "address", "is_enabled", "has_label", "checked_at", "error")
    list_filter = ("has_label",)
    search_fields = ("name",)
    list_select_related = ("schedule",)
    actions = ("ingest_now",)

    def view_on_site(self, obj: Model) -> str:
        return reverse("source", args=[obj.pk])

    def get_fields(self, request: HttpRequest, obj: Source | None = None) -> Any:
        """Show the address without its password to a person who may only view."""
        if self._is_view_only(request, obj):
            return ("name", "address", *INGEST_OPTIONS, "keep_count")
        return super().get_fields(request, obj)

    def get_form(self, request: HttpRequest, obj: Source | None = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - Django passes it by place
        """Leave out the form's own fields for a person who may only view, and databases for all but administrators."""
        if self._is_view_only(request, obj):
            kwargs["form"] = ModelForm
        elif Scope.ADMIN not in scopes_of_request(request):
            kwargs["form"] = SourceForm
        return super().get_form(request, obj, change, **kwargs)

    def has_change_permission(self, request: HttpRequest, obj: Source | None = None) -> bool:
        """Tell whether the person may change sources, or this one."""
        return super().has_change_permission(request, obj) and self._is_permitted(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Source | None = None) -> bool:
        """Tell whether the person may delete sources, or this one."""
        return super().has_delete_permission(request, obj) and self._is_permitted(request, obj)

    def save_model(self, request: HttpRequest, obj: Source, form: SourceForm, change: bool) -> None:  # noqa: FBT001 - Django passes it by place
        """Save the source with its schedule."""
        form.save_with_schedule()

    def delete_model(self, request: HttpRequest, obj: Source) -> None:
        """Delete the source with its schedule."""
        sources.remove(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Source]) -> None:
        """Delete the sources with their schedules."""
        for source in queryset:
            sources.remove(source)

    @admin.display(boolean=True, description=gettext_lazy("checked on schedule"))
    def is_enabled(self, source: Source) -> bool:
        """Whether its schedule is on."""
        return source.is_enabled

    @admin.action(permissions=["change"], description=gettext_lazy("Ingest now"))
    def ingest_now(self, request: HttpRequest, queryset: QuerySet[Source]) -> HttpResponse | None:
        """Load the newest object of each source, new or not, once a person has confirmed it."""
        texts = [_("The newest table of each is loaded, also where it was loaded before.")]
        if question := self.ask(request, queryset, title=_("Load these sources now?"), consequences=texts):
            return question
        for source in queryset:
            dataset = services.queue_source(source)
            enqueue(dataset)
            self.message_user(request, _("%(dataset)s: the ingest has begun.") % {"dataset": dataset})
        return None

    def _is_permitted(self, request: HttpRequest, source: Source | None) -> bool:
        return source is None or sources.may_change(source, scopes=scopes_of_request(request))

    def _is_view_only(self, request: HttpRequest, source: Source | None) -> bool:
        return source is not None and not self.has_change_permission(request, source)


@admin.register(Dataset)
class DatasetAdmin(JobAdmin):
    """Datasets."""

    list_display = ("__str__", "name", "state", "row_count", "problem_count", "error", "archived_at", "created_at")
    list_filter = ("state", ("source", admin.RelatedOnlyFieldListFilter))
    search_fields = ("name",)
    exclude = ("uri",)
    readonly_fields = ("address",)
    actions = (*JobAdmin.actions, "archive")

    @admin.action(permissions=["operate"], description=gettext_lazy("Archive"))
    def archive(self, request: HttpRequest, queryset: QuerySet[Dataset]) -> HttpResponse | None:
        """Drop the rows, once a person has confirmed it; profile and lineage stay."""
        consequences = [
            _("Their rows, rejected rows and uploaded files are deleted, which cannot be undone."),
            _("Profile, lineage and the models made of them stay."),
        ]
        if question := self.ask(request, queryset, title=_("Archive these datasets?"), consequences=consequences):
            return question
        for dataset in queryset:
            try:
                retention.archive(dataset)
            except TitanicError as error:
                self.message_user(request, error.message, messages.ERROR)
            else:
                self.message_user(request, _("%(dataset)s archived.") % {"dataset": dataset})
        return None


@admin.register(Passenger)
class PassengerAdmin(ReadOnlyAdmin):
    """Passengers, without a total: tables may be long."""

    list_display = (KEY, "__str__", LABEL, "is_holdout", "dataset")
    list_filter = ("is_holdout",)
    # As the file has it: the indexes know nothing else.
    search_fields = (f"{KEY}__exact",)
    list_select_related = ("dataset",)


@admin.register(RowProblem)
class RowProblemAdmin(ReadOnlyAdmin):
    """Reasons why rows were rejected or have a warning."""

    list_display = ("line_number", "column", "value", "reason", "severity", "dataset")
    list_filter = ("severity",)
    list_select_related = ("dataset",)


@admin.register(RejectedRow)
class RejectedRowAdmin(ReadOnlyAdmin):
    """Rejected rows as they stood in the table; the dataset's page corrects them."""

    list_display = ("__str__", "dataset", "corrected_at")
    list_filter = (("corrected_at", admin.EmptyFieldListFilter),)
    list_select_related = ("dataset",)
