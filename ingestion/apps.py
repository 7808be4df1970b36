"""Ingestion as a Django app, and what the site above hands it at start."""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, ClassVar

from django.apps import AppConfig
from django.utils.translation import gettext_lazy

if TYPE_CHECKING:
    from celery import Task


class IngestionConfig(AppConfig):
    """The app; `titanic_site.apps` sets the class variables."""

    name = "ingestion"
    verbose_name = gettext_lazy("Datasets")
    #: Returns the ids of datasets whose rows the features or models made of them need.
    datasets_in_use: ClassVar[Callable[[], Collection[int]]]
    #: The task that a source's schedule sends, and its queue: it loads what is new and trains on it.
    fetch_task: ClassVar["Task[..., None]"]
    fetch_queue: ClassVar[str]
