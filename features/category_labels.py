"""Name the codes of features without an order, for pages; no column library is loaded for it."""

from typing import TYPE_CHECKING

from features.definition import CODES
from ingestion.contract import Value

if TYPE_CHECKING:
    from features.profile import FeatureColumnProfile


def with_category_names(name: str, column: "FeatureColumnProfile") -> "FeatureColumnProfile":
    """Replace the codes in a feature's profile by their names; a code without a name stays a number.

    A nominal feature has no median and no mean, and its histogram has one bar for each code, all of which are in `top`.

    >>> sex = {"top": [[0.0, 5], [1.0, 3], [7.0, 1]], "quantiles": [0.0, 0.0, 0.0, 1.0, 7.0], "histogram": [5, 3, 1]}
    >>> with_category_names("Sex", sex)
    {'top': [('male', 5), ('female', 3), (7.0, 1)], 'histogram': [5, 3]}
    """
    if name not in CODES:
        return column
    names: dict[Value, str] = {code: category for category, code in CODES[name].items()}
    counts = dict(column["top"])
    named = column.copy()
    named.pop("quantiles", None)
    named.pop("mean", None)
    named["top"] = [(names.get(code, code), count) for code, count in column["top"]]
    named["histogram"] = [counts.get(code, 0) for code in names]
    return named
