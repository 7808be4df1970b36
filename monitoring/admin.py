"""Monitoring in the admin."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from core.admin import AuditedAdmin, JobAdmin, ReadOnlyAdmin
from monitoring.models import (
    Alert,
    AlertRule,
    Delivery,
    DriftCheck,
    DriftWatch,
    FeatureDrift,
    LiveFigures,
    PerformanceCheck,
    Retraining,
)


@admin.register(DriftCheck)
class DriftCheckAdmin(JobAdmin):
    """Drift checks."""

    list_display = ("__str__", "state", "drifted", "method", "window_size", "version", "error", "created_at")
    list_filter = ("state", "drifted", "method")
    list_select_related = ("version",)


@admin.register(FeatureDrift)
class FeatureDriftAdmin(ReadOnlyAdmin):
    """The tests of drift checks."""

    list_display = ("name", "test", "p_value", "threshold", "effect", "drifted", "drift_check")
    list_filter = ("drifted",)
    search_fields = ("name", "drift_check__id__exact")
    list_select_related = ("drift_check",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[FeatureDrift]:
        """Leave out those of files that the request may not see."""
        checks = DriftCheck.objects.visible_to(request).values("pk")
        tests: QuerySet[FeatureDrift] = super().get_queryset(request)
        return tests.filter(drift_check__in=checks)


@admin.register(AlertRule)
class AlertRuleAdmin(AuditedAdmin):
    """The rules of alerts: one for each kind, which are fixed."""

    list_display = ("kind", "is_enabled", "severity", "threshold", "silenced_until", "retrains")
    list_filter = ("is_enabled", "severity")
    readonly_fields = ("kind", "threshold_label")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(PerformanceCheck)
class PerformanceCheckAdmin(JobAdmin):
    """Performance checks."""

    list_display = (
        "__str__", "state", "outcome_count", "accuracy", "estimated_accuracy", "version", "error", "created_at"
    )  # fmt: skip
    list_select_related = ("version",)


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    """Alerts."""

    list_display = ("kind", "severity", "subject", "message", "raised_at", "acknowledged_at", "resolved_at")
    list_filter = ("kind", "severity", ("resolved_at", admin.EmptyFieldListFilter))
    search_fields = ("subject",)
    date_hierarchy = "raised_at"


@admin.register(DriftWatch)
class DriftWatchAdmin(ReadOnlyAdmin):
    """The drift watch of each champion."""

    list_display = ("__str__", "state", "since", "prediction_count", "looked_at", "error")
    list_filter = ("state",)
    list_select_related = ("version",)
    exclude = ("bins",)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """The tries to notify people of alerts."""

    list_display = ("channel", "is_resolved", "number", "due_at", "tried_at", "error")
    list_filter = ("channel", "is_resolved")


@admin.register(Retraining)
class RetrainingAdmin(ReadOnlyAdmin):
    """Retrainings that started by themselves."""

    list_display = ("__str__", "kind", "alert", "run", "error", "started_at", "finished_at")
    search_fields = ("error",)
    list_select_related = ("alert", "run")


@admin.register(LiveFigures)
class LiveFiguresAdmin(ReadOnlyAdmin):
    """The counters that the overview's time series are made of."""

    list_display = ("node", "at", "prediction_count", "request_count", "error_count", "drifted_count")
