"""The floor as an app: it has the audit trail."""

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy


class CoreConfig(AppConfig):
    """What every app stands on."""

    name = "core"
    verbose_name = gettext_lazy("Audit trail")

    def ready(self) -> None:
        # On import it connects to Django's signals.
        import_module("core.account_audit")
