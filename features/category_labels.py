"""Codes by name, for people; apart from what computes profiles, so that the web loads no column library."""

from collections.abc import Mapping
from typing import Any

from features.definition import CODES


def with_category_names(name: str, column: Mapping[str, Any]) -> dict[str, Any]:
    """A feature's profile with its codes by name: what a person reads. A code without a name stays a number.

    >>> sex = {"top": [[0.0, 5], [1.0, 3], [7.0, 1]], "quantiles": [0.0, 0.0, 0.0, 1.0, 7.0], "histogram": [5, 3, 1]}
    >>> with_category_names("Sex", sex)
    {'top': [['male', 5], ['female', 3], [7.0, 1]], 'histogram': [5, 3]}
    """
    if name not in CODES:
        return dict(column)
    words = {code: word for word, code in CODES[name].items()}
    counts = dict(column["top"])
    # A code has no median, and a bar of its own.
    plain = {key: value for key, value in column.items() if key not in ("quantiles", "mean")}
    return {
        **plain,
        "top": [[words.get(value, value), count] for value, count in column["top"]],
        "histogram": [counts.get(code, 0) for code in words],
    }
