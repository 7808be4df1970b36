"""The site itself, as an app: tokens, commands, shared templates."""

from importlib import import_module

from django.apps import AppConfig


class SiteConfig(AppConfig):
    """Named so that its label is free of the project's path."""

    name = "titanic_site"
    verbose_name = "Site"

    def ready(self) -> None:
        # Registers itself with drf-spectacular.
        import_module("core.openapi")
