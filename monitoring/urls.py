"""Addresses of monitoring's pages."""

from django.urls import path

from monitoring import health, metrics, views

urlpatterns = [
    path("monitoring/", views.overview, name="monitoring"),
    path("monitoring/alerts/", views.alert_list, name="alerts"),
    path("monitoring/alerts/<int:pk>/", views.alert, name="alert"),
    path("monitoring/alerts/<int:pk>/acknowledge/", views.acknowledge_alert, name="acknowledge_alert"),
    path("monitoring/alerts/<int:pk>/resolve/", views.resolve_alert, name="resolve_alert"),
    path("monitoring/alerts/<int:pk>/silence/", views.silence_alert, name="silence_alert"),
    path("monitoring/alerts/rules/", views.alert_rules, name="alert_rules"),
    path("monitoring/alerts/rules/<int:pk>/", views.alert_rule, name="alert_rule"),
    path("monitoring/drift/", views.drift_checks, name="drift_checks"),
    path("monitoring/drift/check/", views.start_check, name="check_drift"),
    path("monitoring/drift/state/", views.drift_state, name="drift_state"),
    path("monitoring/drift/file/<int:pk>/", views.file_report, name="file_report"),
    path("monitoring/drift/<int:pk>/", views.drift_check, name="drift_check"),
    path("monitoring/drift/<int:pk>/retrain/", views.retrain, name="retrain"),
    path("monitoring/drift/<int:pk>/check.<str:form>", views.drift_file, name="drift_file"),
    path("monitoring/performance/", views.performance_checks, name="performance_checks"),
    path("monitoring/performance/check/", views.start_performance_check, name="check_performance"),
    path("monitoring/performance/<int:pk>/", views.performance_check, name="performance_check"),
    path("metrics", metrics.metrics, name="metrics"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
