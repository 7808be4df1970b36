"""Filters of the pages of predictions: features in words, and positions in drawings."""

from django import template

from features import category_labels

register = template.Library()


register.filter("feature_label", category_labels.label)
register.filter("feature_labels", category_labels.labels)


@register.filter
def drawn(share: float) -> str:
    """Format a share as a position from 0 to 100 in a drawing, alike in every language.

    >>> drawn(0.123456)
    '12.35'
    """
    return f"{100 * share:.2f}"


@register.filter
def less(high: float, low: float) -> float:
    """Subtract."""
    return high - low


@register.filter
def curve_height(probability: float) -> str:
    """Format a probability as a height from the top of a curve's box, which is 40 high."""
    return f"{40 - 40 * probability:.1f}"
