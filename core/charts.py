"""Charts as records: a page includes `_components/chart.html`, and `charts.js` draws them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

#: A curve has hundreds of points; the table beside it shows this many of them, and of a series over time this many.
MAX_TABLE_ROWS, MAX_TABLE_MOMENTS = 12, 24


@dataclass(frozen=True)
class Series:
    """One line through points, which may have a band around it, or one bar for each name with its spread."""

    label: str
    x: Sequence[float] | Sequence[datetime]
    y: Sequence[float | str]
    spread: Sequence[float] = ()
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    is_guide: bool = False
    is_marked: bool = False
    is_points: bool = False


@dataclass(frozen=True)
class Mark:
    """A moment on a chart over time, such as a promotion: a line across, with its name."""

    at: datetime
    label: str


@dataclass(frozen=True)
class Chart:
    """A chart with its axes, and a summary in words for screen readers."""

    name: str
    kind: Literal["lines", "times", "bars"]
    title: str
    summary: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    is_unit_square: bool = False
    is_from_zero: bool = False
    marks: Sequence[Mark] = ()

    @property
    def table(self) -> "list[tuple[str, *Point]]":
        """Some points of each series for the table; guides are not data."""
        return [(line.label, *point) for line in self.series if not line.is_guide for point in thinned(line)]

    @property
    def has_bands(self) -> bool:
        """Whether the table has a column for bounds."""
        return any(line.low for line in self.series)


#: A point with the bounds around it, empty where there are none.
Point = tuple[float | datetime, float | str, str]


def thinned(series: Series, *, rows: int = MAX_TABLE_ROWS, moments: int = MAX_TABLE_MOMENTS) -> list[Point]:
    """Return some of the points in equal steps, the first and last among them; bars stay whole.

    >>> thinned(Series("a", range(101), range(101)), rows=3)
    [(0, 0, ''), (50, 50, ''), (100, 100, '')]
    """
    bounds = [f"{low:.3f}–{high:.3f}" for low, high in zip(series.low, series.high, strict=True)]
    places: list[float | datetime] = [*series.x]
    points = list(zip(places, series.y, bounds or [""] * len(places), strict=True))
    most = moments if points and isinstance(points[0][0], datetime) else rows
    if series.spread or len(points) <= most or isinstance(series.y[0], str):
        return points
    return [points[round(step * (len(points) - 1) / (most - 1))] for step in range(most)]
