"""The champion in this process's memory, and other versions for jobs that began with them."""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Self, cast

import msgspec
import numpy as np
from django.db import DatabaseError, InterfaceError
from numpy.typing import NDArray

from core.errors import Unavailable
from core.messages import Message, of_error
from core.messages import Message as _
from features.definition import FEATURES, Matrix, derive
from ingestion.contract import Columns, Value
from ingestion.schema import as_row, to_columns
from predictions import load_failures
from predictions.models import Prediction
from training import registry
from training.artifact import Artifact, ArtifactError
from training.metrics import Points
from training.models import ModelVersion
from training.reference import SeenValues

logger = logging.getLogger(__name__)


class FeatureValues(msgspec.Struct, frozen=True, gc=False):
    """A passenger's features by name; unknown is NaN, and null in JSON. `Features` adds the names."""

    def items(self) -> list[tuple[str, float | None]]:
        """List names and values; unknown is None."""
        values = msgspec.structs.astuple(self)
        return [(name, None if math.isnan(value) else value) for name, value in zip(FEATURES, values, strict=True)]


Features = cast(
    "Callable[..., FeatureValues]",
    msgspec.defstruct("Features", [(name, float) for name in FEATURES], bases=(FeatureValues,), frozen=True, gc=False),
)

#: How long (seconds) a process answers with its champion before it asks the registry again.
RECHECK_SECONDS = 1.0
#: After how long (seconds) a file that failed to load is tried again: each time twice as long.
FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 2.0, 60.0


class Scored(NamedTuple):
    """Features, shape (n, features), probabilities (n,) and verdicts (n,) of n passengers."""

    matrix: Matrix
    probabilities: NDArray[np.float64]
    predicted: NDArray[np.bool_]


@dataclass(frozen=True)
class Champion:
    """The serving model, loaded."""

    version: int
    threshold: float
    artifact: Artifact
    #: None for a model of an earlier version of this product.
    seen_values: SeenValues | None = None
    #: How often the label was true by predicted probability, out of fold.
    calibration: Points = field(default_factory=lambda: Points([], []))

    @classmethod
    def load(cls, version: ModelVersion) -> Self:
        """Load a version; raises ArtifactError, Unavailable."""
        artifact, evaluation = registry.load(version), version.evaluation
        seen_values, calibration = SeenValues.of(evaluation.inputs), evaluation.curves.cross_validation.calibration
        return cls(version.version, version.threshold, artifact, seen_values, calibration)

    def score(self, columns: Columns) -> Scored:
        """Derive the features of typed passenger columns and score them."""
        matrix = derive(columns)
        probabilities = self.artifact.score(matrix)
        return Scored(matrix, probabilities, probabilities >= self.threshold)


class _LoadFailure(NamedTuple):
    """A champion whose file failed to load, and when (monotonic seconds) it is tried again."""

    version: int
    reason: Message
    pause: float
    retry_at: float


class ChampionCache:
    """Hold the champion in memory, and ask the registry once a second whether it still is the champion."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget the champion: it is loaded again with the next request."""
        self._champion: Champion | None = None
        self._failure: _LoadFailure | None = None
        self._is_registry_unavailable = False
        self._checked_at = -RECHECK_SECONDS

    def champion(self) -> Champion:
        """Return the champion; raises Unavailable when there is none that can be used."""
        # While one thread rechecks and loads, the others use the champion that is loaded.
        if time.monotonic() - self._checked_at > RECHECK_SECONDS and self._lock.acquire(
            blocking=self._champion is None
        ):
            try:
                self._recheck()
            finally:
                self._lock.release()
        if self._champion is None:
            raise Unavailable(self._obstacle())
        return self._champion

    def _obstacle(self) -> Message:
        if self._is_registry_unavailable:
            return Unavailable.default_message
        if self._failure is None:
            return _("No model is serving yet. Train one: python manage.py train.")
        details = {"version": str(self._failure.version), "reason": self._failure.reason}
        return _("Model %(version)s is the champion, but its file must not be used: %(reason)s.") % details

    def _recheck(self) -> None:
        if time.monotonic() - self._checked_at <= RECHECK_SECONDS:
            return
        try:
            version = ModelVersion.objects.champion()
        except (DatabaseError, InterfaceError) as error:
            # Without Postgres the champion that is loaded keeps serving.
            logger.warning("cannot look up which version is the champion: %s", error)
            self._is_registry_unavailable = True
        else:
            self._is_registry_unavailable = False
            if version is None:
                self._champion = self._failure = None
            elif self._champion is not None and self._champion.version == version.version:
                self._failure = None
            else:
                self._load(version)
        self._checked_at = time.monotonic()

    def _load(self, version: ModelVersion) -> None:
        last = self._failure if self._failure is not None and self._failure.version == version.version else None
        if last is not None and time.monotonic() < last.retry_at:
            return
        try:
            self._champion = Champion.load(version)
        except (ArtifactError, Unavailable) as error:
            # The old champion keeps serving rather than a file that is not what the registry says.
            logger.error("model %s cannot be loaded: %s", version.version, error)  # noqa: TRY400 - the reason is in the message
            pause = FIRST_RETRY_SECONDS if last is None else min(2 * last.pause, MAX_RETRY_SECONDS)
            reason = of_error(error)
            self._failure = _LoadFailure(version.version, reason, pause, time.monotonic() + pause)
            load_failures.record(version.version, reason)
        else:
            logger.info("model %s is serving", version.version)
            self._failure = None
            load_failures.clear(version.version)


@lru_cache(maxsize=4)
def get_version(version: int) -> Champion:
    """Load a version, champion or not; raises DoesNotExist, ArtifactError."""
    return Champion.load(ModelVersion.objects.get(version=version))


_cache = ChampionCache()
champion = _cache.champion


def reset() -> None:
    """Forget every version that is loaded, as in a new process."""
    _cache.reset()
    get_version.cache_clear()


def matrix_of(predictions: Iterable[Prediction]) -> Matrix:
    """Derive the features of n logged predictions, shape (n, features)."""
    return derive(to_columns([as_row(prediction) for prediction in predictions]))


def features_of_passenger(passenger: Mapping[str, Value]) -> FeatureValues:
    """Derive a checked passenger's features."""
    return Features(*derive(to_columns([passenger]))[0].tolist())
