"""Keys that stand twice in JSON, which no decoder tells of."""

from typing import Any

import msgspec


def may_be_doubled(body: bytes, found: Any) -> bool:
    r"""Whether a key may stand twice in the JSON of which this was found; False is certain.

    Written again, the body has fewer colons then, unless one in a text was written as an escape.

    >>> [may_be_doubled(body, msgspec.json.decode(body)) for body in (b'{"a": 1}', b'{"a": 1, "a": 2}')]
    [False, True]
    >>> may_be_doubled(b'{"a": 1, "a": "\\u003A"}', {"a": ":"})
    True
    """
    return rb"\u003" in body or body.count(b":") != msgspec.json.encode(found).count(b":")
