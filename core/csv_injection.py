"""CSV that leaves the house: a spreadsheet must not take a cell for a formula."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

# Both are read by two engines, of which one knows digits of every script as \d and some controls as \s: no \d, and
# no \s without the controls.
_NUMBER_PATTERN = r" *[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?"
# Spreadsheets pass over blanks, controls and byte order marks; some take full-width signs for the plain ones.
_STARTS_FORMULA_PATTERN = r"\A(?:[\t\r\n]|[\s\x00-\x1f\ufeff]*[=+\-@＝＋－＠])"
_NUMBER = re.compile(_NUMBER_PATTERN)
_STARTS_FORMULA = re.compile(_STARTS_FORMULA_PATTERN)


def escape_row(row: Iterable[object]) -> list[str]:
    """The row's cells as text, a quote before what a spreadsheet would run (OWASP, CSV injection).

    >>> safe(["=cmd|' /C calc'!A0", -1.5, None])
    ["'=cmd|' /C calc'!A0", '-1.5', '']
    """
    return [_escape("" if cell is None else str(cell)) for cell in row]


def escaped_column(name: str) -> "pl.Expr":
    """The same for a column of text cells at once; an empty cell becomes a missing one, which is written as nothing.

    >>> import polars as pl
    >>> pl.DataFrame({"x": ["=1+1", "-1.5", "", "a"]}).select(safe_cell("x"))["x"].to_list()
    ["'=1+1", '-1.5', None, 'a']
    """
    import polars as pl

    cell = pl.col(name)
    is_formula = cell.str.contains(_STARTS_FORMULA_PATTERN) & ~cell.str.contains(rf"\A(?:{_NUMBER_PATTERN})\z")
    return pl.when(cell != "").then(pl.when(is_formula).then(pl.lit("'") + cell).otherwise(cell)).alias(name)


def unescape(cell: str) -> str:
    """A cell that comes back from a spreadsheet, without the quote that `safe` put before it.

    >>> as_written("'=1+1"), as_written("'tween decks")
    ('=1+1', "'tween decks")
    """
    return cell[1:] if cell[:1] == "'" and _escape(cell[1:]) == cell else cell


def _escape(cell: str) -> str:
    return f"'{cell}" if _STARTS_FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell
