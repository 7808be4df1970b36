"""The state of the drift watch: monitoring publishes it in Redis, every process that answers reads it from memory."""

import contextlib
import time
from datetime import datetime
from typing import Literal

import msgspec

from core import redis
from core.redis import RedisUnavailable

_KEY = "predictions:drift"
#: For how long (seconds) a process answers with the state that it read last.
REFRESH_SECONDS = 3.0


class DriftState(msgspec.Struct, frozen=True):
    """Whether live inputs have drifted from the model's training rows, since when, and in which features.

    It is unknown before enough predictions, and while no model serves that has a calibrated watch.
    """

    state: Literal["unknown", "calm", "drift"] = "unknown"
    since: datetime | None = None
    features: list[str] = []
    model_version: int | None = None


class _Memory:
    """The state that this process read last."""

    def __init__(self) -> None:
        self.state = DriftState()
        self.read_at = float("-inf")


_memory = _Memory()


def publish(state: DriftState) -> None:
    """Make this the state that every process reads; raises RedisError."""
    redis.client().set(_KEY, msgspec.json.encode(state))


def read() -> DriftState:
    """Read the state from Redis; raises RedisError."""
    encoded = redis.client().get(_KEY)
    return DriftState() if encoded is None else msgspec.json.decode(encoded, type=DriftState)


def current() -> DriftState:
    """Return the state, at most a few seconds old; while Redis is unavailable the last one that was read."""
    if time.monotonic() - _memory.read_at > REFRESH_SECONDS:
        # Other threads answer with the last state meanwhile.
        _memory.read_at = time.monotonic()
        with contextlib.suppress(RedisUnavailable):
            _memory.state = read()
    return _memory.state
