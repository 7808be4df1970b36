"""What the app is called in the admin."""

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy


class MonitoringConfig(AppConfig):
    """The app's name in the reader's language."""

    name = "monitoring"
    verbose_name = gettext_lazy("Monitoring")

    def ready(self) -> None:
        """Let workers count their tasks."""
        import_module("monitoring.worker_metrics")
