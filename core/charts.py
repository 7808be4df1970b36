"""Charts as records: a page includes `_components/chart.html`, and `charts.js` draws them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

#: A curve has hundreds of points; the table beside it shows this many of them.
MAX_TABLE_ROWS = 12


@dataclass(frozen=True)
class Series:
    """One line through points, or one bar for each name with its spread."""

    label: str
    x: Sequence[float]
    y: Sequence[float | str]
    spread: Sequence[float] = ()
    is_guide: bool = False
    is_marked: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart with its axes, and a summary in words for screen readers."""

    name: str
    kind: Literal["lines", "bars"]
    title: str
    summary: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    is_unit_square: bool = False

    @property
    def drawing(self) -> dict[str, object]:
        """The record that the script draws."""
        return asdict(self)

    @property
    def table(self) -> list[tuple[str, float, float | str]]:
        """Some points of each series for the table; guides are not data."""
        return [(line.label, x, y) for line in self.series if not line.is_guide for x, y in thinned(line)]


def thinned(series: Series, *, rows: int = MAX_TABLE_ROWS) -> list[tuple[float, float | str]]:
    """Return some of the points in equal steps, the first and last among them; bars stay whole.

    >>> thinned(Series("a", range(101), range(101)), rows=3)
    [(0, 0), (50, 50), (100, 100)]
    """
    points = list(zip(series.x, series.y, strict=True))
    if series.spread or len(points) <= rows:
        return points
    return [points[round(step * (len(points) - 1) / (rows - 1))] for step in range(rows)]
