"""The site itself, as an app: tokens, commands, shared templates."""

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy


class SiteConfig(AppConfig):
    """What the apps below need of the site and of each other is handed over here."""

    name = "titanic_site"
    verbose_name = gettext_lazy("Site")

    def ready(self) -> None:
        from ingestion.apps import IngestionConfig
        from titanic_site import pipeline, tasks
        from training.apps import TrainingConfig

        # On import they register with drf-spectacular and with Django's checks.
        import_module("core.openapi")
        import_module("titanic_site.checks")
        # What ingestion must know of the apps above it.
        IngestionConfig.datasets_in_use = pipeline.datasets_in_use
        IngestionConfig.fetch_task, IngestionConfig.fetch_queue = tasks.fetch, "training"
        TrainingConfig.live_accuracy = pipeline.live_accuracy
