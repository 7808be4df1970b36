"""Monitoring in the admin."""

from django.contrib import admin

from core.admin import JobAdmin, ReadOnlyAdmin
from monitoring.models import Alert, DriftCheck, DriftWatch, FeatureDrift


@admin.register(DriftCheck)
class DriftCheckAdmin(JobAdmin):
    """Drift checks."""

    list_display = ("__str__", "state", "drifted", "window_size", "version", "error", "created_at")
    list_select_related = ("version",)


@admin.register(FeatureDrift)
class FeatureDriftAdmin(ReadOnlyAdmin):
    """The tests of drift checks."""

    list_display = ("name", "test", "p_value", "threshold", "effect", "drifted", "drift_check")
    list_select_related = ("drift_check",)


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    """Alerts."""

    list_display = ("kind", "subject", "text", "raised_at", "last_seen_at", "resolved_at")
    list_filter = ("kind",)


@admin.register(DriftWatch)
class DriftWatchAdmin(ReadOnlyAdmin):
    """The drift watch of each champion."""

    list_display = ("__str__", "state", "since", "prediction_count", "looked_at", "error")
    list_select_related = ("version",)
    exclude = ("bins",)
