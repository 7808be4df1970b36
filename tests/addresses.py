"""An address for each pattern of the product."""

import re
from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

_SAMPLES = {"int": "7", "uuid": "01a19467-e800-7000-8000-000500000002", "str": "x", "path": "x", "slug": "x"}


def sample_addresses() -> Iterator[str]:
    """Yield an address for each pattern, some twice."""
    return _addresses(get_resolver().url_patterns)


def _addresses(patterns: list[Any], prefix: str = "/") -> Iterator[str]:
    """An address for each pattern."""
    for found in patterns:
        route = str(found.pattern)
        # The two that are expressions match all that is left.
        route = "nothing/" if route.startswith(("^", "(")) else re.sub(r"<(?:(\w+):)?\w+>", _sample, route)
        if isinstance(found, URLResolver):
            yield from _addresses(found.url_patterns, prefix + route)
        else:
            assert isinstance(found, URLPattern)
            yield prefix + route


def _sample(parameter: "re.Match[str]") -> str:
    return _SAMPLES[parameter[1] or "str"]
