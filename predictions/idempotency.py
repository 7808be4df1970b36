"""Idempotency keys of predictions: the same key and body within a day get the same answer, predicted and logged once.

The answer is stored beside the stream, in one step with the log entries, so that neither is there without the other,
whichever process is killed.
"""

import hashlib
from dataclasses import dataclass
from typing import cast

from core import redis
from core.idempotency import LIFETIME, conflict, encode_sorted, key_hash

LIFETIME_SECONDS = int(LIFETIME.total_seconds())


@dataclass(frozen=True)
class Key:
    """The Redis key of a stored answer, and the hash of the request body it answers."""

    name: str
    body_hash: bytes

    @classmethod
    def of(cls, text: str, *, caller: object, body: object) -> "Key":
        """Make the key out of a caller's header; each caller has keys of its own. Raises Invalid."""
        return cls(f"predictions:once:{key_hash(text, caller)}", hashlib.sha256(encode_sorted(body)).digest())

    def stored_answer(self) -> bytes | None:
        """Look the answer up; raises Conflict when it belongs to another body, RedisUnavailable."""
        stored = cast("bytes | None", redis.client().get(self.name))
        return None if stored is None else self.unwrap(stored)

    def wrap(self, answer: bytes) -> bytes:
        """Put the body's hash before the answer, as it is stored."""
        return self.body_hash + answer

    def unwrap(self, stored: bytes) -> bytes:
        """Return the answer that is stored; raises Conflict when it belongs to another body."""
        if not stored.startswith(self.body_hash):
            raise conflict()
        return stored[len(self.body_hash) :]
