"""Tags and filters of all templates: numbers, badges, links, polling."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from django import template
from django.template import Context
from django.urls import Resolver404, resolve, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join, strip_tags
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core import moments, numbers
from core.charts import Chart
from core.jobs import Job
from ingestion.passenger import LABEL_WORDS
from titanic_site.job_list import kind_of
from training.card import plain
from training.metrics import Estimate

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

register = template.Library()

register.filter("kind", kind_of)
# What is stored is a text in English: its translation is looked up where it is shown.
register.filter("translated", _)
register.filter(plain)
register.filter("moment", moments.shown)

_PLOT = 10
_POLL_SECONDS = 2
#: Seconds of a unit, its name, and the seconds and name of the unit below.
_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))
#: Page -> what it is called above the pages below it.
_CRUMBS: "Mapping[str, StrOrPromise]" = {
    "datasets": gettext_lazy("Datasets"),
    "dataset": gettext_lazy("Dataset %(pk)s"),
    "features": gettext_lazy("Features"),
    "models": gettext_lazy("Models"),
    "model": gettext_lazy("Model %(version)s"),
    "runs": gettext_lazy("Runs"),
    "predictions": gettext_lazy("Predictions"),
    "prediction": gettext_lazy("Prediction"),
    "scoring": gettext_lazy("Scoring"),
    "monitoring": gettext_lazy("Monitoring"),
    "drift_checks": gettext_lazy("Drift checks"),
    "performance_checks": gettext_lazy("Live performance"),
    "alerts": gettext_lazy("Alerts"),
    "alert_rules": gettext_lazy("Alert rules"),
    "tokens": gettext_lazy("API tokens"),
    "users": gettext_lazy("Users"),
    "schedules": gettext_lazy("Schedules"),
}


@register.simple_tag
def badge(state: str, label: object) -> SafeString:
    """Render a badge."""
    return format_html('<span class="badge" data-state="{}">{}</span>', state, label)


@register.filter
def label_word(value: bool) -> "StrOrPromise":  # noqa: FBT001 - a template passes it by place
    """Return the label's word for true or false."""
    return LABEL_WORDS[bool(value)]


@register.simple_tag(takes_context=True)
def nav_link(context: Context, name: str, label: str, *, is_alone: bool = False) -> SafeString:
    """Link to a section, marked when the page belongs to it; one that is alone has no pages below it."""
    url, path = reverse(name), context["request"].path
    is_here = path == url or (url != reverse("home") and not is_alone and path.startswith(url))
    current = SafeString(' aria-current="page"') if is_here else ""
    return format_html('<a href="{}"{}>{}</a>', url, current, label)


@register.simple_tag(takes_context=True)
def crumbs(context: Context) -> SafeString:
    """List links to the pages that this one lies under: after the overview those are the parts of its address."""
    path, overview = context["request"].path_info, reverse("overview")
    places = [path[: slash.end()] for slash in re.finditer("/", path[:-1])]
    links = [(place, label) for place in places if (label := _crumb(place))]
    if "read" in context["scopes"] and path != overview:
        links.insert(0, (overview, _("Overview")))
    return format_html_join("", '<li><a href="{}">{}</a></li>', links)


def _crumb(path: str) -> str:
    try:
        match = resolve(path)
    except Resolver404:
        return ""
    label = _CRUMBS.get(match.url_name or "")
    return str(label) % match.kwargs if label else ""


@register.filter
def any_open(jobs: Iterable[Job | None]) -> bool:
    """Tell whether one of the jobs is queued or running."""
    return any(job is not None and job.is_open for job in jobs)


@register.simple_tag(takes_context=True)
def poll(context: Context, element_id: str, is_open: bool, *, otherwise: int = 0) -> SafeString:  # noqa: FBT001 - a template passes it by place
    """Return the attributes of an element that reloads itself while a job in it is open.

    `otherwise` are the seconds between looks while none is: zero never looks.
    """
    request = context["request"]
    # The response to a POST has an address that cannot be fetched.
    seconds = _POLL_SECONDS if is_open else otherwise
    if not seconds or request.method != "GET":
        return SafeString("")
    attributes = 'hx-get="{}" hx-trigger="every {}s" hx-select="#{}" hx-swap="outerHTML"'
    return format_html(attributes, request.get_full_path(), seconds, element_id)


@register.simple_tag
def scroll_region(label: str) -> SafeString:
    """Return the attributes of an element that may be wider than the screen: the keyboard scrolls it too."""
    return format_html('role="region" tabindex="0" aria-label="{}"', label)


@register.simple_block_tag
def cards(content: str, label: str, look: str = "") -> SafeString:
    """Frame a table whose rows are cards on a narrow screen: each cell carries the heading of its column."""
    head, end, body = content.partition("</thead>")
    headings = re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", head, re.DOTALL)
    labels = [" ".join(strip_tags(heading).split()).replace('"', "&quot;") for heading in headings]

    def labelled(row: re.Match[str]) -> str:
        rest = iter(labels)
        return re.sub(r"<t[hd]\b", lambda cell: f'{cell[0]} data-label="{next(rest, "")}"', row[0])

    body = re.sub(r"<tr\b.*?</tr>", labelled, re.sub(r">\s+</td>", "></td>", body), flags=re.DOTALL)
    region = format_html('<div class="table cards {}" {}>', look, scroll_region(label))
    return SafeString(f"{region}{head}{end}{body}</div>")


@register.filter
def grouped(number: float | None) -> str:
    """Format a count with its thousands apart.

    >>> grouped(1000000), grouped(0)
    ('1,000,000', '0')
    """
    return "–" if number is None else numbers.localized(f"{number:.0f}")


@register.simple_tag
def histogram(counts: Sequence[float]) -> SafeString:
    """Draw counts in bins of one width."""
    most = max(counts, default=0) or 1
    heights = [round(_PLOT * count / most, 2) for count in counts]
    bars = [(index, _PLOT - height, height) for index, height in enumerate(heights)]
    rects = format_html_join("", '<rect x="{}" y="{}" width="0.9" height="{}" />', bars)
    template = '<svg class="plot" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
    return format_html(template, len(counts), _PLOT, rects)


@register.filter
def percent(share: float | None) -> str:
    """Format a share as a percentage with one digit."""
    return "–" if share is None else _("%(number)s%%") % {"number": numbers.localized(f"{100 * share:.1f}")}


@register.filter
def points(share: float) -> str:
    """Format a share as percentage points, with its sign.

    >>> points(0.1234), points(-0.00001)
    ('+12.3', '0.0')
    """
    text = f"{100 * share:+.1f}"
    return numbers.localized(text[1:] if float(text) == 0 else text)


@register.filter
def number(cell: object) -> str:
    """Format a float with four significant digits, a flag and None as words, anything else as it is."""
    if isinstance(cell, bool):
        return _("yes") if cell else _("no")
    if isinstance(cell, float):
        return numbers.number(cell)
    return _("unknown") if cell is None else str(cell)


@register.filter
def point(x: float | datetime) -> str:
    """Format where a point of a chart lies: a moment in the visitor's time zone, or a number."""
    return moments.shown(x, "seconds") if isinstance(x, datetime) else number(x)


@register.filter
def drawing(chart: Chart) -> dict[str, object]:
    """Return the record that the script draws: it shows moments as in UTC, so they are those of the visitor's clock."""

    record: dict[str, object] = {**vars(chart), "series": [vars(line) for line in chart.series]}
    if chart.kind == "times":
        record["x_label"] = f"{chart.x_label} ({timezone.get_current_timezone_name()})"
        record["series"] = [
            {**vars(line), "x": [_wall_clock(x) for x in line.x if isinstance(x, datetime)]} for line in chart.series
        ]
    return {**record, "marks": [{"at": _wall_clock(mark.at), "label": mark.label} for mark in chart.marks]}


def _wall_clock(moment: datetime) -> datetime:
    return timezone.localtime(moment).replace(tzinfo=UTC)


@register.filter
def decimals(number: float) -> str:
    """Format a model's figure with three digits."""
    return numbers.localized(f"{number:.3f}")


@register.filter
def signed(difference: float) -> str:
    """Format the difference of two figures with its sign.

    >>> signed(0.0076), signed(-0.0001)
    ('+0.008', '0.000')
    """
    text = f"{difference:+.3f}"
    return numbers.localized(text[1:] if float(text) == 0 else text)


@register.filter
def duration(length: timedelta | None) -> str:
    """Format a length of time in its two largest units.

    >>> [duration(timedelta(seconds=seconds)) for seconds in (2.25, 20, 95)], duration(timedelta(days=7))
    (['2.2 s', '20 s', '1 min 35 s'], '7 d')
    """
    if length is None:
        return "–"
    seconds = length.total_seconds()
    for size, unit, smaller_size, smaller in _UNITS:
        if seconds >= size:
            rest = int(seconds) % size // smaller_size
            return f"{int(seconds) // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return numbers.localized(f"{seconds:.1f}".removesuffix(".0")) + " s"


@register.filter
def value(figure: Estimate | None) -> str:
    """Format a model's figure; a dash where there is none."""
    return "–" if figure is None else decimals(figure.value)


@register.filter
def spread(figure: Estimate | None) -> str:
    """Format the spread of a figure, where it is known."""
    return "" if figure is None or figure.spread is None else f"± {decimals(figure.spread)}"


@register.filter
def estimate(figure: Estimate | None) -> str:
    """Format a figure with its spread."""
    return f"{value(figure)} {spread(figure)}".rstrip()


@register.filter
def interval(figure: Estimate | None) -> str:
    """Format the interval of a figure, where it has one."""
    if figure is None or figure.low is None or figure.high is None:
        return ""
    # That of a calibration error measured by an earlier version of this product, which did not correct its bias.
    if isinstance(figure, Estimate) and not figure.low <= figure.value <= figure.high:
        return ""
    return f"{decimals(figure.low)}–{decimals(figure.high)}"


@register.filter
def with_interval(figure: Estimate | None) -> str:
    """Format a figure with its interval in brackets, where it has one."""
    bounds = interval(figure)
    return f"{value(figure)} ({bounds})" if bounds else value(figure)
