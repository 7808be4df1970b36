"""The features in the admin."""

from django.contrib import admin

from features.models import FeatureBatch
from titanic_site.lib.admin import JobAdmin


@admin.register(FeatureBatch)
class FeatureBatchAdmin(JobAdmin):
    """Feature batches."""

    list_display = ("__str__", "dataset", "state", "row_count", "is_current", "error", "created_at")
    list_select_related = ("dataset",)
