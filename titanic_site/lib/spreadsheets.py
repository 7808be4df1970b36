"""CSV that leaves the house: a spreadsheet must not take a cell for a formula."""

import re
from collections.abc import Iterable

_NUMBER = re.compile(r"[+-]?[\d.]+([eE][+-]?\d+)?", re.ASCII)
_STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def safe(row: Iterable[object]) -> list[str]:
    """The row's cells as text, a quote before what a spreadsheet would run (OWASP, CSV injection).

    >>> safe(["=cmd|' /C calc'!A0", -1.5, None])
    ["'=cmd|' /C calc'!A0", '-1.5', '']
    """
    return [_safe("" if cell is None else str(cell)) for cell in row]


def as_written(cell: str) -> str:
    """A cell that comes back from a spreadsheet, without the quote that `safe` put before it.

    >>> as_written("'=1+1"), as_written("'tween decks")
    ('=1+1', "'tween decks")
    """
    return cell[1:] if cell[:1] == "'" and _safe(cell[1:]) == cell else cell


def _safe(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_STARTS_FORMULA) and not _NUMBER.fullmatch(cell) else cell
