"""The Celery application; workers and beat are started by `manage.py up`."""

import logging.config
import os
import warnings
from typing import Any

from celery import Celery
from celery.platforms import SecurityWarning
from celery.signals import setup_logging
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "titanic_site.settings")

# Said to root, for the sake of pickled messages: ours are JSON, and nothing here unpickles.
warnings.filterwarnings("ignore", category=SecurityWarning)

app = Celery("titanic_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def configure_logging(**_: Any) -> None:
    """Workers log where the web does; with a receiver here Celery leaves logging alone."""
    logging.config.dictConfig(settings.LOGGING)
