"""Schemathesis takes the first token for every other request of an operation, and the further ones by turns."""

import os
from collections import Counter
from typing import Any

import schemathesis

_FIRST, *_FURTHER = os.environ["TOKENS"].split()
_counts = Counter[str]()


@schemathesis.auth(refresh_interval=None, retry_on=[])
class NextToken:
    """The token of each request."""

    def get(self, case: Any, context: Any) -> str:
        """Return the token of the next request."""
        _counts[case.operation.label] += 1
        round_, is_second = divmod(_counts[case.operation.label] - 1, 2)
        # Another one in each operation's turn.
        return _FURTHER[(len(_counts) + round_) % len(_FURTHER)] if is_second and _FURTHER else _FIRST

    def set(self, case: Any, data: str, context: Any) -> None:
        """Send the token."""
        case.headers["Authorization"] = f"Token {data}"
