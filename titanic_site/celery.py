"""The Celery application; workers and beat are started by `manage.py up`."""

import logging.config
import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "titanic_site.settings")

app = Celery("titanic_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def configure_logging(**_: Any) -> None:
    """Workers log where the web does; with a receiver here Celery leaves logging alone."""
    logging.config.dictConfig(settings.LOGGING)
