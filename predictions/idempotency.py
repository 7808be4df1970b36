"""Idempotency keys: the same key and body within a day get the same answer, predicted and logged once.

(The IETF draft "The Idempotency-Key HTTP Header Field".) The answer is stored beside the stream, in one step with the
log entry, so that neither is there without the other, whichever process is killed.
"""

import hashlib
from dataclasses import dataclass
from typing import cast

import msgspec
from django.utils.translation import gettext as _

from core import redis
from core.errors import Conflict, Invalid

HEADER = "Idempotency-Key"
LIFETIME_SECONDS = 24 * 60 * 60
MAX_LENGTH = 255
_encode_sorted = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True)
class Key:
    """The Redis key of a stored answer, and the hash of the request body it answers."""

    name: str
    body_hash: bytes

    @classmethod
    def of(cls, text: str, *, caller: object, body: object) -> "Key":
        """Make the key out of a caller's header; each caller has keys of its own. Raises Invalid."""
        if not (text.strip() and text.isprintable() and len(text) <= MAX_LENGTH):
            message = _("Must be 1 to %(most)s printable characters.") % {"most": MAX_LENGTH}
            raise Invalid({HEADER: [("invalid", message)]})
        digest = hashlib.sha256(f"{caller}\n{text}".encode()).hexdigest()
        return cls(f"predictions:once:{digest}", hashlib.sha256(_encode_sorted(body)).digest())

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
            message = _("This key was given with another body before: use a new one, or send that body.")
            raise Conflict(message, field=HEADER)
        return stored[len(self.body_hash) :]
