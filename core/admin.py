"""What the admin's pages have in common: safe filters, audited changes, read-only rows, jobs with their actions."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_permission_codename
from django.core.exceptions import BadRequest, ValidationError
from django.core.paginator import Paginator
from django.db import connection, transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin

from core import audit
from core.errors import TitanicError
from core.jobs import Job, enqueue
from core.models import Action, AuditEntry, JobLogLine, StoredAnswer


class EstimatedPaginator(Paginator):
    """Counts a few thousand rows; of a longer table it takes PostgreSQL's estimate, of a longer selection that many."""

    MOST_COUNTED = 10_000

    @cached_property
    def count(self) -> int:
        """How many rows there are, about."""
        rows = cast("QuerySet[Model]", self.object_list)
        counted = rows.order_by()[: self.MOST_COUNTED + 1].count()
        if counted <= self.MOST_COUNTED or rows.query.where:
            return counted
        with connection.cursor() as cursor:
            # A partitioned table's rows are those of its partitions.
            cursor.execute(
                "SELECT sum(reltuples) FROM pg_class WHERE relkind = 'r' AND reltuples > 0 AND oid IN"
                " (SELECT relid FROM pg_partition_tree(%s::regclass) UNION SELECT %s::regclass)",
                [rows.model._meta.db_table] * 2,
            )
            return max(counted, int(cursor.fetchone()[0] or 0))


class BaseAdmin(ModelAdmin):
    """Rows in the admin, in its theme."""

    paginator = EstimatedPaginator
    show_full_result_count = False
    # A page with a thousand rows behind it takes no more than twice as long as one with ten.
    list_per_page = 25

    @property
    def media(self) -> forms.Media:
        """Leave out what no form here needs and what weighs half of a page: a slug typed from a title."""
        scripts = ("vendor/jquery/jquery.min.js", "jquery.init.js", "core.js", "admin/RelatedObjectLookups.js")
        return forms.Media(js=[f"admin/js/{name}" for name in (*scripts, "actions.js")])

    def view_on_site(self, obj: Model) -> str | None:
        """Return the address of the product's page of a row, if it has one."""
        address = getattr(obj, "get_absolute_url", None)
        return address() if address else None

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        """Add the link to the product's page, where rows have one."""
        has_page = hasattr(self.model, "get_absolute_url") or type(self).view_on_site is not BaseAdmin.view_on_site
        return (*super().get_list_display(request), *(("product_page",) if has_page else ()))

    @admin.display(description=gettext_lazy("page"))
    def product_page(self, obj: Model) -> str:
        """Link to the product's page."""
        address = self.view_on_site(obj)
        return format_html('<a class="text-link" href="{}">{}</a>', address, _("Show page")) if address else "–"

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Admit the filters of the page: others would tell, letter by letter, what no page shows."""
        name, _, condition = lookup.partition("__")
        if name == self.date_hierarchy and condition in _DATE_PARTS:
            return value.isascii() and value.isdigit() and len(value) <= _LONGEST_YEAR
        offered = {field if isinstance(field, str) else field[0] for field in self.list_filter}
        return name in offered and condition in _CONDITIONS and "\0" not in value

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, str] | None = None) -> HttpResponse:
        """Show the rows; answers 400 where an action names a row that cannot be."""
        for key in request.POST.getlist("_selected_action"):
            try:
                self.opts.pk.to_python(key)
            except ValidationError as error:
                raise BadRequest(str(error)) from error
            if "\0" in key:
                raise BadRequest
        page: HttpResponse = super().changelist_view(request, extra_context)
        return page

    def ask(
        self, request: HttpRequest, queryset: QuerySet[Any], *, title: str, consequences: Sequence[str]
    ) -> HttpResponse | None:
        """Render the page that asks whether to go on with an action on these rows; None once a person has confirmed."""
        if "confirmed" in request.POST:
            return None
        if not queryset.exists():
            self.message_user(request, _("None of these rows is there any more."), messages.ERROR)
            return redirect(request.get_full_path())
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "consequences": consequences,
            "rows": queryset,
            "action": request.POST.get("action", ""),
            "opts": self.opts,
        }
        return render(request, "admin/confirm_action.html", context)


class AuditedAdmin(BaseAdmin):
    """Rows whose changes in the admin are recorded in the audit trail."""

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:  # noqa: FBT001, FBT002 - Django passes it by place
        """Note the changed fields for `log_addition` and `log_change`, which lack the form."""
        names = [name for name in (form.cleaned_data if add else form.changed_data) if "password" not in name]
        request.audited = {  # type: ignore[attr-defined]
            "before": {name: _named(form.initial.get(name), form.fields[name]) for name in names if not add},
            "after": {name: _named(form.cleaned_data.get(name), form.fields[name]) for name in names},
        }
        return super().construct_change_message(request, form, formsets, add)

    def log_addition(self, request: HttpRequest, obj: Model, message: object) -> LogEntry:
        """Record what was added, in the transaction of the form."""
        audit.record(Action.ADDED, obj, **request.audited)  # type: ignore[attr-defined]
        entry: LogEntry = super().log_addition(request, obj, message)
        return entry

    def log_change(self, request: HttpRequest, obj: Model, message: object) -> LogEntry:
        """Record what was changed, in the transaction of the form; a password has an entry of its own."""
        changes = getattr(request, "audited", {})
        if changes.get("after"):
            audit.record(Action.CHANGED, obj, **changes)
        entry: LogEntry = super().log_change(request, obj, message)
        return entry

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        """Record what is deleted."""
        audit.record(Action.DELETED, obj)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> None:
        """Record what is deleted."""
        with transaction.atomic():
            for row in queryset:
                audit.record(Action.DELETED, row)
            super().delete_queryset(request, queryset)


#: What the links of a filter ask of its field.
_CONDITIONS = frozenset({"", "exact", "id__exact", "isnull", "isempty"})
#: What those of a date hierarchy ask of its field, in digits.
_DATE_PARTS = frozenset({"year", "month", "day"})
_LONGEST_YEAR = 4


def _named(value: object, field: forms.Field) -> object:
    """Name the rows that a field refers to."""
    if isinstance(value, (list, QuerySet)):
        return ", ".join(map(str, value))
    if isinstance(field, forms.ModelChoiceField) and field.queryset is not None and isinstance(value, int):
        return field.queryset.filter(pk=value).first()
    return value


class ReadOnlyAdmin(AuditedAdmin):
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
    date_hierarchy = "created_at"
    actions: tuple[str, ...] = ("rerun", "cancel")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        """Leave out what belongs to somebody else, unless the user may operate."""
        jobs: QuerySet[Job] = super().get_queryset(request).visible_to(request)
        return jobs

    @admin.action(permissions=["operate"], description=gettext_lazy("Start again"))
    def rerun(self, request: HttpRequest, queryset: QuerySet[Job]) -> HttpResponse | None:
        """Queue new jobs with the same inputs, once a person has confirmed it."""
        texts = [_("Each starts as a new run with the same inputs; what it made before stays.")]
        if question := self.ask(request, queryset, title=_("Start these again?"), consequences=texts):
            return question
        self._apply(request, queryset, lambda job: enqueue(job.rerun()), _("%(job)s started again."))
        return None

    @admin.action(permissions=["operate"], description=gettext_lazy("Cancel"))
    def cancel(self, request: HttpRequest, queryset: QuerySet[Job]) -> HttpResponse | None:
        """Cancel those that are queued or running, once a person has confirmed it."""
        texts = [_("What is running stops, and what it has made so far is not used.")]
        if question := self.ask(request, queryset, title=_("Cancel these?"), consequences=texts):
            return question
        self._apply(request, queryset, lambda job: job.cancel(), _("%(job)s cancelled."))
        return None

    def _apply(self, request: HttpRequest, jobs: QuerySet[Job], act: Callable[[Job], None], text: str) -> None:
        for job in jobs:
            try:
                act(job)
            except TitanicError as error:
                self.message_user(request, f"{job}: {error.message}", messages.ERROR)
            else:
                self.message_user(request, text % {"job": job})


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """The audit trail."""

    list_display = ("at", "actor", "actor_kind", "action", "object_name", "address", "request_id")
    list_filter = ("action", "actor_kind")
    search_fields = ("actor", "object_name", "request_id", "address")


@admin.register(JobLogLine)
class JobLogLineAdmin(ReadOnlyAdmin):
    """What was logged while jobs ran."""

    list_display = ("task_id", "at", "level", "text")
    # Not by level: to list those that there are, all rows would be read.
    list_filter = ("is_stage",)
    search_fields = ("task_id__exact",)


@admin.register(StoredAnswer)
class StoredAnswerAdmin(ReadOnlyAdmin):
    """Answers kept for idempotency keys."""

    list_display = ("key", "status", "location", "created_at")
