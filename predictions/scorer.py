"""The champion in this process's memory."""

import logging
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import numpy as np
from django.db import DatabaseError, InterfaceError
from django.utils.translation import gettext as _
from numpy.typing import NDArray

from core.errors import Unavailable, unavailable
from features.definition import FEATURES, Matrix, derive
from ingestion.contract import Columns
from ingestion.passenger import to_columns
from predictions import load_failures, metrics
from training import registry
from training.artifact import Artifact, ArtifactError
from training.models import ModelVersion

logger = logging.getLogger(__name__)


class _Features(msgspec.Struct, frozen=True, gc=False):
    """A passenger's features by name, as JSON, where NaN is null, and for Python."""

    def items(self) -> list[tuple[str, float | None]]:
        """Names and values; unknown is None."""
        values = msgspec.structs.astuple(self)
        return [(name, None if math.isnan(value) else value) for name, value in zip(FEATURES, values, strict=True)]


Features: Any = msgspec.defstruct(
    "Features", [(name, float) for name in FEATURES], bases=(_Features,), frozen=True, gc=False
)

#: How long (seconds) a process may answer with the champion before without having asked.
RECHECK_SECONDS = 1.0
#: After how long (seconds) a file that was refused is tried again: each time twice as long.
FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 2.0, 60.0


class Scored(NamedTuple):
    """Features (n, 11), probabilities (n,) and verdicts (n,) of n passengers."""

    matrix: Matrix
    probabilities: NDArray[np.float64]
    survived: NDArray[np.bool_]


@dataclass(frozen=True)
class Champion:
    """The model in charge, ready to answer."""

    version: int
    threshold: float
    artifact: Artifact

    def score(self, columns: Columns) -> Scored:
        """Answer for typed passenger columns."""
        matrix = derive(columns)
        probabilities = self.artifact.score(matrix)
        return Scored(matrix, probabilities, probabilities >= self.threshold)


class _Refusal(NamedTuple):
    """A version in charge whose file must not serve, and when (monotonic seconds) it is tried again."""

    version: int
    reason: str
    pause: float
    again_at: float


class ChampionCache:
    """Holds the champion, and looks once a second whether it is still in charge."""

    def __init__(self) -> None:
        self._champion: Champion | None = None
        self._refusal: _Refusal | None = None
        self._is_unknown = False
        self._checked_at = -RECHECK_SECONDS
        self._lock = threading.Lock()

    def champion(self) -> Champion:
        """The champion; raises Unavailable when there is none that may serve."""
        # While one thread looks, and loads, the others answer with the champion that is there.
        if time.monotonic() - self._checked_at > RECHECK_SECONDS and self._lock.acquire(
            blocking=self._champion is None
        ):
            try:
                self._recheck()
            finally:
                self._lock.release()
        if self._champion is None:
            raise Unavailable(self._why_not())
        return self._champion

    def reset(self) -> None:
        """Start as a new process does: without a champion, to be looked up at the next request."""
        self._champion = self._refusal = None
        self._checked_at = -RECHECK_SECONDS

    def _why_not(self) -> str:
        if self._is_unknown:
            return unavailable().message
        if self._refusal is None:
            return _("No model is in charge yet. Train one: python manage.py train.")
        told = {"version": self._refusal.version, "reason": self._refusal.reason}
        return _("Model %(version)s is in charge, but its file must not serve: %(reason)s.") % told

    def _recheck(self) -> None:
        if time.monotonic() - self._checked_at <= RECHECK_SECONDS:
            return
        try:
            version = ModelVersion.objects.champion()
        except (DatabaseError, InterfaceError) as error:
            # Postgres is away: the champion of a moment ago goes on answering.
            logger.warning("cannot ask who is champion: %s", error)
            self._is_unknown = True
        else:
            self._is_unknown = False
            self._update(version)
        self._checked_at = time.monotonic()

    def _update(self, version: ModelVersion | None) -> None:
        if version is None:
            self._champion = self._refusal = None
        elif self._champion is not None and self._champion.version == version.version:
            self._refusal = None
        elif self._is_due(version.version):
            self._take_up(version)

    def _is_due(self, version: int) -> bool:
        refusal = self._refusal
        return refusal is None or refusal.version != version or time.monotonic() >= refusal.again_at

    def _take_up(self, version: ModelVersion) -> None:
        try:
            self._champion = Champion(version.version, version.threshold, registry.load(version))
        except (ArtifactError, Unavailable) as error:
            # Better the old champion than a file that is not what the registry says.
            logger.error("model %s must not serve: %s", version.version, error)  # noqa: TRY400
            pause = FIRST_RETRY_SECONDS
            if self._refusal is not None and self._refusal.version == version.version:
                pause = min(2 * self._refusal.pause, MAX_RETRY_SECONDS)
            self._refusal = _Refusal(version.version, str(error), pause, time.monotonic() + pause)
            load_failures.record(version.version, str(error))
        else:
            logger.info("model %s took charge", version.version)
            metrics.start(version.version)
            self._refusal = None
            load_failures.clear(version.version)


@lru_cache(maxsize=4)
def get_version(version: int) -> Champion:
    """A version as the champion would be, whether or not it is in charge; raises DoesNotExist, ArtifactError."""
    found = ModelVersion.objects.get(version=version)
    return Champion(found.version, found.threshold, registry.load(found))


_cache = ChampionCache()
champion = _cache.champion
reset = _cache.reset


def features_of(matrix: Matrix) -> list[Any]:
    """Each row's features."""
    return [Features(*row) for row in matrix.tolist()]


def features_of_passenger(passenger: Mapping[str, Any]) -> dict[str, float | None]:
    """A checked passenger's features by name; unknown is None."""
    (found,) = features_of(derive(to_columns([passenger])))
    return dict(found.items())
