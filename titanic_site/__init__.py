"""The site: settings, the strings between the apps, and the processes."""

from titanic_site.celery import app as celery_app

__all__ = ["celery_app"]
