"""Tags that show a column's profile in a table."""

from typing import TYPE_CHECKING

from django import template
from django.utils.translation import gettext as _

from core.numbers import localized
from titanic_site.templatetags.titanic import grouped, number, percent

if TYPE_CHECKING:
    from features.profile import FeatureColumnProfile
    from ingestion.profile import ColumnProfile

register = template.Library()

_LONGEST_VALUE, _FREQUENT_COUNT = 24, 5
#: The indexes of minimum, median and maximum among the quantiles.
_SHOWN = (0, 2, 4)


@register.simple_tag
def missing(column: "ColumnProfile") -> str:
    """Format the share of unknown values."""
    return percent(column["missing"] / max(column["count"], 1))


@register.simple_tag
def distinct(column: "ColumnProfile") -> str:
    """Format the number of different values, if they were counted."""
    return _("very many") if column["distinct"] is None else grouped(column["distinct"])


@register.simple_tag
def correlation(column: "FeatureColumnProfile") -> str:
    """Format the correlation of a column with the label."""
    value = column["correlation"]
    return "–" if value is None else localized(f"{value:.2f}")


@register.simple_tag
def quantiles(column: "ColumnProfile") -> str:
    """Format minimum, median and maximum of a numeric column."""
    values = column.get("quantiles")
    return " · ".join(number(float(values[index])) for index in _SHOWN) if values else "–"


@register.simple_tag
def frequent(column: "ColumnProfile") -> str:
    """Format the most frequent values with their shares; none where each occurs once."""
    count = max(column["count"], 1)
    return ", ".join(
        f"{number(value)[:_LONGEST_VALUE]} ({percent(times / count)})"
        for value, times in column["top"][:_FREQUENT_COUNT]
        if times > 1
    )
