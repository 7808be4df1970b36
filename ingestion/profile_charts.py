"""What a profile draws of a column: the shares of its values, beside those of the reference."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from django.utils.translation import gettext as _

from core.numbers import number
from ingestion.profiled import ColumnComparison

if TYPE_CHECKING:
    from ingestion.profile import ColumnProfile

#: The bins of a histogram.
BINS = 20
_MINIMUM, _MAXIMUM = 0, 4
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Bar:
    """A value, or a bin: its share of the rows, that in the reference where it is known, and both in per cent of the
    largest.
    """

    name: str
    share: float
    reference: float | None
    length: float
    reference_length: float


@dataclass(frozen=True)
class ColumnChart:
    """A column's chart: a histogram from one end to the other, or a bar for each of the most frequent values."""

    column: ColumnComparison
    bars: Sequence[Bar]
    ends: tuple[float, float] | None = None

    @property
    def width(self) -> int:
        """The width of a histogram's drawing."""
        return 10 * len(self.bars)


def charts(columns: Sequence[ColumnComparison], *, in_words: Callable[[str, object], object]) -> list[ColumnChart]:
    """Draw each column that has values to compare: `in_words` names a column's value."""
    return [_histogram(column) or _frequent(column, in_words=in_words) for column in columns]


def bars(shares: Mapping[str, float], reference: Mapping[str, float | None] | None = None) -> list[Bar]:
    """Scale shares to the largest of them.

    >>> [bar.length for bar in bars({"a": 0.5, "b": 0.25})]
    [100.0, 50.0]
    """
    before = reference or {}
    most = max([*shares.values(), *(share or 0.0 for share in before.values()), 1e-9])
    return [
        Bar(
            name[:_LONGEST_NAME],
            share,
            before.get(name),
            round(100 * share / most, 1),
            round(100 * (before.get(name) or 0.0) / most, 1),
        )
        for name, share in shares.items()
    ]


def _histogram(column: ColumnComparison) -> ColumnChart | None:
    """Draw the distribution of a number with many values, over the range of both profiles."""
    now, before = column.now, column.before
    if "quantiles" not in now or (now["distinct"] is not None and now["distinct"] <= len(now["top"])):
        return None
    profiles = [profile for profile in (now, before) if profile is not None and "quantiles" in profile]
    low = min(profile["quantiles"][_MINIMUM] for profile in profiles)
    high = max(profile["quantiles"][_MAXIMUM] for profile in profiles)
    edges = np.linspace(low, high, BINS + 1)
    names = [f"{number(start)} – {number(end)}" for start, end in pairwise(edges)]
    shares, *reference = (dict(zip(names, _rebinned(profile, edges), strict=True)) for profile in profiles)
    return ColumnChart(column, bars(shares, reference[0] if reference else None), (low, high))


def _rebinned(profile: "ColumnProfile", edges: "np.typing.NDArray[np.float64]") -> list[float]:
    """Share a histogram's rows out over other bins, as if they lay evenly within their own."""
    counts = np.array(profile["histogram"])
    low, high = profile["quantiles"][_MINIMUM], profile["quantiles"][_MAXIMUM]
    # The first edge lies below the least value, so that a constant is in one bin.
    own = np.linspace(np.nextafter(low, -np.inf), high, len(counts) + 1)
    below = np.interp(edges, own, np.concatenate([[0.0], np.cumsum(counts)]) / max(counts.sum(), 1))
    return [float(share) for share in np.diff(below)]


def _frequent(column: ColumnComparison, *, in_words: Callable[[str, object], object]) -> ColumnChart:
    """Draw the most frequent values, the others together, and those that are unknown."""
    shares, is_complete = _shares(column, column.now, in_words=in_words)
    if column.before is None:
        return ColumnChart(column, bars(shares))
    earlier, was_complete = _shares(column, column.before, in_words=in_words)
    unknown = 0.0 if was_complete else None
    others = _("others")
    reference = {name: earlier.get(name, unknown) for name in shares if name != others}
    if others in shares and was_complete:
        reference[others] = sum(share for name, share in earlier.items() if name not in reference)
    if is_complete:
        new = {name: 0.0 for name in earlier if name not in shares and name != others}
        shares, reference = {**shares, **new}, {**reference, **{name: earlier[name] for name in new}}
    return ColumnChart(column, bars(shares, reference))


def _shares(
    column: ColumnComparison, profile: "ColumnProfile", *, in_words: Callable[[str, object], object]
) -> tuple[dict[str, float], bool]:
    """Return the share of each frequent value by its name, and whether there are no others."""
    count, top = max(profile["count"], 1), profile["top"]
    # A value that occurs once says nothing of the others.
    frequent = [(value, times) for value, times in top if times > 1]
    if all(isinstance(value, (int, float)) for value, _times in frequent):
        frequent.sort(key=lambda row: float(row[0] or 0))
    shares = {_name(in_words(column.name, value)): times / count for value, times in frequent}
    rest = profile["count"] - profile["missing"] - sum(times for _value, times in frequent)
    if rest:
        shares[_("others")] = rest / count
    if profile["missing"]:
        shares[_("unknown")] = profile["missing"] / count
    return shares, not rest


def _name(value: object) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return number(value) if isinstance(value, float) else str(value)
