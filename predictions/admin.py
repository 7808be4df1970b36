"""Predictions in the admin."""

from django.contrib import admin

from predictions.models import Prediction, ScoringJob
from titanic_site.lib.admin import JobAdmin, ReadOnlyAdmin


@admin.register(Prediction)
class PredictionAdmin(ReadOnlyAdmin):
    """The prediction log."""

    list_display = ("id", "summary", "survived", "probability", "model_version", "source", "created_at")
    list_filter = ("survived", "source")
    show_full_result_count = False


@admin.register(ScoringJob)
class ScoringJobAdmin(JobAdmin):
    """Scored files."""

    list_display = ("__str__", "name", "state", "row_count", "problem_count", "error", "created_at")
