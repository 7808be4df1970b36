"""The correlations of a batch's features with each other, as a table that shows how strong each is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from core.numbers import localized
from ingestion.profiled import ColumnComparison

if TYPE_CHECKING:
    from features.profile import FeatureColumnProfile

#: From these strengths on a cell has the next colour.
_LEVELS = (0.2, 0.4, 0.6)


class Cell(NamedTuple):
    """A correlation for people, and the colour for its strength."""

    text: str
    level: int


def correlations(profile: Sequence[ColumnComparison]) -> dict[str, list[Cell]]:
    """Lay out a row of cells for each feature; none for a batch of an earlier version of this product."""
    rows = {column.name: cast("FeatureColumnProfile", column.now).get("correlations") for column in profile}
    return {
        name: [Cell("", 0) if other == name else _cell(row.get(other)) for other in rows]
        for name, row in rows.items()
        if row
    }


def _cell(correlation: float | None) -> Cell:
    if correlation is None:
        return Cell("–", 0)
    return Cell(localized(f"{correlation:.2f}"), 1 + sum(abs(correlation) >= limit for limit in _LEVELS))
