"""What the app is called in the admin."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy


class PredictionsConfig(AppConfig):
    """The app's name in the reader's language."""

    name = "predictions"
    verbose_name = gettext_lazy("Predictions")
