"""Ingestion in the admin."""

from django.contrib import admin
from unfold.admin import ModelAdmin

from ingestion.models import Dataset, Passenger, RowProblem, Source
from titanic_site.lib.admin import JobAdmin, ReadOnlyAdmin


@admin.register(Source)
class SourceAdmin(ModelAdmin):
    """Where tables come from."""

    list_display = ("name", "uri", "is_enabled", "has_label")


@admin.register(Dataset)
class DatasetAdmin(JobAdmin):
    """Datasets."""

    list_display = ("__str__", "name", "state", "row_count", "problem_count", "error", "created_at")


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
