"""The site itself, as an app: tokens, commands, shared templates."""

from importlib import import_module

from django.apps import AppConfig


class SiteConfig(AppConfig):
    """Named so that its label is free of the project's path."""

    name = "titanic_site"
    verbose_name = "Site"

    def ready(self) -> None:
        from ingestion.apps import IngestionConfig
        from titanic_site import pipeline, tasks

        # They register themselves with drf-spectacular and with Django.
        import_module("core.openapi")
        import_module("titanic_site.checks")
        # What ingestion must know of the apps above it.
        IngestionConfig.datasets_in_use = pipeline.datasets_in_use
        IngestionConfig.fetch_task, IngestionConfig.fetch_queue = tasks.fetch, "training"
