"""The state of the drift watch: monitoring publishes it in Redis, every process that answers reads it from memory."""

import time
from contextlib import suppress
from datetime import datetime
from functools import lru_cache

import msgspec

from core import redis
from core.redis import RedisUnavailable
from features.definition import FEATURES, Matrix
from training.reference import SeenValues

_KEY = "predictions:drift"
#: For how long (seconds) a process answers with the state that it read last.
REFRESH_SECONDS = 3.0


class DriftState(msgspec.Struct, frozen=True):
    """Whether live inputs have drifted from the model's training rows, since when, and in which features.

    The state is unknown (before enough predictions, and while no calibrated model serves), calm or drift.
    """

    state: str = "unknown"
    since: datetime | None = None
    features: tuple[str, ...] = ()
    model_version: int | None = None


class FeatureNote(msgspec.Struct, frozen=True):
    """Whether a feature has drifted, and whether the value asked about lies within those of the training rows.

    The latter is None beside a batch, and for a model of an earlier version of this product.
    """

    name: str
    drifted: bool
    seen: bool | None


class DriftNote(msgspec.Struct, frozen=True):
    """What an answer says of drift: the watch's state, since when, and each feature."""

    state: str
    since: datetime | None
    features: list[FeatureNote]

    @property
    def drifted(self) -> list[str]:
        """The features that have drifted."""
        return [feature.name for feature in self.features if feature.drifted]

    @property
    def unseen(self) -> list[str]:
        """The features whose value lies outside the training rows'."""
        return [feature.name for feature in self.features if feature.seen is False]


class _Memory:
    """The state that this process read last."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget it, as in a new process."""
        self._state = DriftState()
        self._read_at = float("-inf")

    def current(self) -> DriftState:
        """Return the state, at most a few seconds old; while Redis is unavailable the last one that was read."""
        if time.monotonic() - self._read_at > REFRESH_SECONDS:
            # Other threads answer with the last state meanwhile.
            self._read_at = time.monotonic()
            with suppress(*RedisUnavailable):
                self._state = read()
        return self._state


_memory = _Memory()
current, reset = _memory.current, _memory.reset


def publish(state: DriftState) -> None:
    """Make this the state that every process reads; raises RedisError."""
    redis.client().set(_KEY, msgspec.json.encode(state))


def read() -> DriftState:
    """Read the state from Redis; raises RedisError."""
    encoded = redis.client().get(_KEY)
    return DriftState() if encoded is None else msgspec.json.decode(encoded, type=DriftState)


def note(seen_values: SeenValues | None = None, matrix: Matrix | None = None) -> DriftNote:
    """Describe the present state, and the features of one row, shape (1, features), by what its model has seen."""
    if seen_values is None or matrix is None:
        return _note(current(), (None,) * len(FEATURES))
    return _note(current(), tuple(seen_values.contain(matrix)[0].tolist()))


@lru_cache(maxsize=64)
def _note(state: DriftState, seen: tuple[bool | None, ...]) -> DriftNote:
    features = [FeatureNote(name, name in state.features, known) for name, known in zip(FEATURES, seen, strict=True)]
    return DriftNote(state.state, state.since, features)
