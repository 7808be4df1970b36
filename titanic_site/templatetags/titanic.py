"""What templates say the same way everywhere."""

from datetime import timedelta
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from titanic_site.runs import kind_of

register = template.Library()

register.filter("kind", kind_of)


@register.simple_tag
def badge(state: str, label: object) -> SafeString:
    """A small coloured word."""
    return format_html('<span class="badge" data-state="{}">{}</span>', state, label)


@register.filter
def percent(share: float | None) -> str:
    """A share as a percentage with one digit."""
    return "–" if share is None else f"{share:.1%}"


@register.filter
def figure(number: Any) -> str:
    """A number with what precision it deserves; anything else as it is."""
    if isinstance(number, bool):
        return _("yes") if number else _("no")
    if isinstance(number, float):
        return f"{number:.4g}"
    return _("unknown") if number is None else str(number)


@register.filter
def took(duration: timedelta | None) -> str:
    """How long something took."""
    if duration is None:
        return "–"
    seconds = duration.total_seconds()
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"  # noqa: PLR2004


@register.filter
def with_spread(found: dict[str, float]) -> str:
    """A mean with its spread."""
    return f"{found['mean']:.3f} ± {found['spread']:.3f}"
