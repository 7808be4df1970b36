"""CSV injection (OWASP): a spreadsheet must not run a cell of a download as a formula."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

# Python's and polars' engines differ in \d and \s: no \d is used, and no \s without the control characters.
_NUMBER_PATTERN = r" *[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?"
# Spreadsheets skip blanks, controls and byte order marks before a formula; some read full-width signs as plain ones.
_STARTS_FORMULA_PATTERN = r"\A(?:[\t\r\n]|[\s\x00-\x1f\ufeff]*[=+\-@＝＋－＠])"
_NUMBER = re.compile(_NUMBER_PATTERN)
_STARTS_FORMULA = re.compile(_STARTS_FORMULA_PATTERN)


def escape_row(row: Iterable[object]) -> list[str]:
    """Return the cells as text, with a quote before what a spreadsheet would run.

    >>> escape_row(["=cmd|' /C calc'!A0", -1.5, None])
    ["'=cmd|' /C calc'!A0", '-1.5', '']
    """
    return [_escape("" if cell is None else str(cell)) for cell in row]


def csv_lines(rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Yield rows as lines of CSV, each cell escaped.

    >>> list(csv_lines([["-1", "a,b"]]))
    ['-1,"a,b"\\r\\n']
    """
    for row in rows:
        line = io.StringIO()
        csv.writer(line).writerow(escape_row(row))
        yield line.getvalue()


def escaped_column(name: str) -> "pl.Expr":
    """Escape a column of text cells; an empty cell becomes null, which is written as nothing.

    >>> import polars as pl
    >>> pl.DataFrame({"x": ["=1+1", "-1.5", "", "a"]}).select(escaped_column("x"))["x"].to_list()
    ["'=1+1", '-1.5', None, 'a']
    """
    import polars as pl

    cell = pl.col(name)
    is_formula = cell.str.contains(_STARTS_FORMULA_PATTERN) & ~cell.str.contains(rf"\A(?:{_NUMBER_PATTERN})\z")
    return pl.when(cell != "").then(pl.when(is_formula).then(pl.lit("'") + cell).otherwise(cell)).alias(name)


def unescape(cell: str) -> str:
    """Remove the quote that `escape_row` put before a cell that comes back from a spreadsheet.

    >>> unescape("'=1+1"), unescape("'tween decks")
    ('=1+1', "'tween decks")
    """
    return cell[1:] if cell[:1] == "'" and _escape(cell[1:]) == cell else cell


def _escape(cell: str) -> str:
    return f"'{cell}" if _STARTS_FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell
