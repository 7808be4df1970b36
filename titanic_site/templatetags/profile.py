"""A column's profile in a table's cells."""

from typing import Any

from django import template
from django.utils.translation import gettext as _

from titanic_site.templatetags.titanic import grouped, number, percent

register = template.Library()

_LONGEST_VALUE = 24
#: Places of least, median and most among the quantiles.
_SHOWN = (0, 2, 4)


@register.simple_tag
def missing(column: dict[str, Any]) -> str:
    """The share of unknown values."""
    return percent(column["missing"] / max(column["count"], 1))


@register.simple_tag
def distinct(column: dict[str, Any]) -> str:
    """How many different values there are, if they were counted."""
    return _("very many") if column["distinct"] is None else grouped(column["distinct"])


@register.simple_tag
def correlation(column: dict[str, Any]) -> str:
    """How much a column says of the label."""
    found = column.get("correlation")
    return "–" if found is None else f"{found:.2f}"


@register.simple_tag
def quantiles(column: dict[str, Any]) -> str:
    """Least, median and most of a numeric column."""
    found = column.get("quantiles")
    return " · ".join(number(float(found[place])) for place in _SHOWN) if found else "–"


@register.simple_tag
def frequent(column: dict[str, Any]) -> str:
    """The most frequent values with their shares; none where every value is there once."""
    count = max(column["count"], 1)
    return ", ".join(
        f"{number(value)[:_LONGEST_VALUE]} ({percent(times / count)})" for value, times in column["top"] if times > 1
    )
