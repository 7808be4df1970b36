"""Recognise whether a column's numbers are written with a decimal point or comma, and write them plainly. Pure."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from ingestion.contract import Field

if TYPE_CHECKING:
    import polars as pl

_CURRENCY = "[£$€]|gbp|usd|eur"
_ABOUT = r"~|≈|(?:circa|ca|c|about|abt|around|approximately|approx|est)\b\.?"
_BLANKS = " \u00a0\u202f'"
_WHOLE = re.compile(r"[+-]?\d+\.0+", re.ASCII)


def recognise(fields: Sequence[Field], cells: "pl.DataFrame", *, separator: str) -> dict[str, str]:
    """Recognise each number column's decimal mark: “.”, “,” or, where cells contradict each other, none.

    One group of three digits after a comma, as in 1,071, is either; other cells and columns decide.
    """
    import polars as pl

    marks: dict[str, str] = {}
    open_names: list[str] = []
    for field in fields:
        if not field.is_numeric or field.name not in cells.columns:
            continue
        column = pl.col(field.name)
        comma, point, group = cells.select(
            column.str.contains(r"\d,(\d{1,2}|\d{4,})\D*$|\d\.\d{3},\d|^\D*0,\d").any().alias("comma"),
            column.str.contains(r"\d\.(\d{1,2}|\d{4,})\D*$|\d,\d{3}\.\d|\d,\d{3},\d{3}|^\D*0\.\d").any().alias("point"),
            column.str.contains(r",\d{3}\D*$").any().alias("group"),
        ).row(0)
        if comma != point:
            marks[field.name] = "," if comma else "."
        elif comma:
            marks[field.name] = ""
        elif group:
            open_names.append(field.name)
    seen = {mark for mark in marks.values() if mark}
    other = seen.pop() if len(seen) == 1 else "," if separator == ";" and not seen else ""
    return {**marks, **dict.fromkeys(open_names, other)}


@lru_cache
def _around(units: Sequence[str]) -> re.Pattern[str]:
    """Match what stands before and after a number: “about”, a currency, a unit."""
    after = "|".join((_CURRENCY, *map(re.escape, units)))
    return re.compile(rf"^\s*(?:{_ABOUT})?\s*(?:{_CURRENCY})?\s*|\s*(?:{after})\s*$", re.IGNORECASE)


def plain_number(field: Field, text: str, mark: str | None) -> str:
    """Write a number as the contract reads it: without currency, unit and thousands, with a point.

    >>> price = Field("price", "number", is_required=False)
    >>> [plain_number(price, text, ".") for text in ("£7.25", "c. 7.25", "1,071.28", "1,071", "7,25", "7 miles")]
    ['7.25', '7.25', '1071.28', '1071', '7,25', '7 miles']
    >>> [plain_number(price, text, ",") for text in ("7,25 €", "1.071,28", "1.071")]
    ['7.25', '1071.28', '1071']
    >>> plain_number(price, "1,071", None), plain_number(price, "1,071.28", None)
    ('1,071', '1071.28')
    """
    number = _around(tuple(field.in_files.units)).sub("", text) or text
    if grouped := re.fullmatch(rf"([+-]?\d{{1,3}})((?:([.,{_BLANKS}])\d{{3}})(?:\3\d{{3}})*)(?:([.,])(\d+))?", number):
        whole, groups, group, point, decimals = grouped.groups()
        # A group and another mark after it leave no doubt; else the column's mark is the one that makes no group.
        if (
            group in _BLANKS
            or (point and point != group)
            or (not point and {".": ",", ",": "."}.get(mark or "") == group)
        ):
            digits = re.sub(r"\D", "", groups)
            return f"{whole}{digits}.{decimals}" if point else f"{whole}{digits}"
    if mark == "," and re.fullmatch(r"[+-]?\d*,\d+", number):
        number = number.replace(",", ".")
    if field.is_integer and _WHOLE.fullmatch(number):
        number = number.partition(".")[0]
    return number
