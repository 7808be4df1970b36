"""Training as a Django app, and what the site above hands it at start."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar

from django.apps import AppConfig
from django.utils.translation import gettext_lazy

from training.metrics import Estimate


@dataclass(frozen=True)
class LiveAccuracy:
    """A version's accuracy on live outcomes, on how many, and the page that says more."""

    accuracy: Estimate
    outcome_count: int
    url: str


class TrainingConfig(AppConfig):
    """The app; `titanic_site.apps` sets the class variable."""

    name = "training"
    verbose_name = gettext_lazy("Training")
    #: Returns the accuracy on live outcomes by version number; versions that were never measured are missing.
    live_accuracy: ClassVar[Callable[[Collection[int]], Mapping[int, LiveAccuracy]]]
