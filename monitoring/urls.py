"""Addresses of monitoring's pages."""

from django.urls import path

from monitoring import health, metrics, views

urlpatterns = [
    path("monitoring/", views.overview, name="monitoring"),
    path("monitoring/alerts/open/", views.open_alerts, name="open_alerts"),
    path("monitoring/drift/", views.drift_checks, name="drift_checks"),
    path("monitoring/drift/check/", views.start_check, name="check_drift"),
    path("monitoring/drift/state/", views.drift_state, name="drift_state"),
    path("monitoring/drift/<int:pk>/", views.drift_check, name="drift_check"),
    path("metrics", metrics.metrics, name="metrics"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
