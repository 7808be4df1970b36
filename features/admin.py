"""Feature batches in the admin."""

from django.contrib import admin

from core.admin import JobAdmin
from features.models import FeatureBatch


@admin.register(FeatureBatch)
class FeatureBatchAdmin(JobAdmin):
    """List and inspect feature batches."""

    list_display = ("__str__", "dataset", "state", "row_count", "is_current", "error", "created_at")
    list_select_related = ("dataset",)
