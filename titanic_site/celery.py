"""The Celery application; workers and beat are started by `manage.py up`."""

import logging.config
import os
import warnings

from celery import Celery
from celery.exceptions import CPendingDeprecationWarning
from celery.signals import heartbeat_sent, setup_logging
from django.conf import settings

from core import heartbeat

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "titanic_site.settings")

# Celery warns root of pickled messages: ours are JSON, and nothing here unpickles.
warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")
# Celery warns when it loses the broker: a run goes on, since its lease, not its message, tells which worker has it.
warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)

app = Celery("titanic_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def configure_logging(**_: object) -> None:
    """Workers log where the web does; with a receiver here Celery leaves logging alone."""
    logging.config.dictConfig(settings.LOGGING)


@heartbeat_sent.connect
def show_life(**_: object) -> None:
    """Touch the heartbeat's file every two seconds while a worker is connected to Redis and its loop goes on."""
    heartbeat.touch_file()
