"""Asked twice, answered once: a key and what was answered under it, kept for a day beside the stream.

(The IETF draft "The Idempotency-Key HTTP Header Field".) Answer and log entry are written in one step, so that neither
is there without the other, whoever is killed.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec
from django.utils.translation import gettext as _

from core import redis
from core.errors import Conflict, Invalid

HEADER = "Idempotency-Key"
LIFETIME_SECONDS = 24 * 60 * 60
LONGEST = 255
_SORTED = msgspec.json.Encoder(order="sorted")


@dataclass(frozen=True)
class Key:
    """The Redis key of a stored answer, and the hash of the request body it answers."""

    name: str
    body: bytes

    @classmethod
    def of(cls, text: str, *, caller: object, body: Any) -> "Key":
        """Make the key out of a caller's header; each caller has keys of its own. Raises Invalid."""
        if not (text.strip() and text.isprintable() and len(text) <= LONGEST):
            message = _("Must be 1 to %(most)s printable characters.") % {"most": LONGEST}
            raise Invalid({HEADER: [("invalid", message)]})
        digest = hashlib.sha256(f"{caller}\n{text}".encode()).hexdigest()
        return cls(f"predictions:once:{digest}", hashlib.sha256(_SORTED.encode(body)).digest())

    def answered(self) -> bytes | None:
        """What was answered; raises Conflict when something else was asked under the key, and RedisUnavailable."""
        return self.read(redis.client().get(self.name))

    def read(self, kept: bytes | None) -> bytes | None:
        """Return the stored answer; raises Conflict when it belongs to another request body."""
        if kept is None:
            return None
        if not kept.startswith(self.body):
            message = _("This key was given with another body before: use a new one, or send that body.")
            raise Conflict(message, field=HEADER)
        return kept[len(self.body) :]

    def keeping(self, answer: bytes) -> bytes:
        """What to keep for the answer."""
        return self.body + answer
