"""Recognise whether a column's numbers are written with a decimal point or comma, and write them plainly. Pure."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from ingestion.contract import Field

if TYPE_CHECKING:
    import polars as pl

_SIGNS = {"£": "GBP", "$": "USD", "€": "EUR"}
_CURRENCY = "[£$€]|gbp|usd|eur"
_NAMED_CURRENCY = re.compile("[£$€]|(?<![a-z])(?:gbp|usd|eur)(?![a-z])", re.IGNORECASE)
_ABOUT = r"~|≈|(?:circa|ca|c|about|abt|around|approximately|approx|est)\b\.?"
_BLANKS = " \u00a0\u202f'"
# What only a decimal comma, and only a decimal point, looks like; then what may be one, or that of a thousand.
_SURE = (
    r"\d,(\d{1,2}|\d{4,})\D*$|\d\.\d{3},\d|\d\.\d{3}\.\d{3}|^\D*0,\d",
    r"\d\.(\d{1,2}|\d{4,})\D*$|\d,\d{3}\.\d|\d,\d{3},\d{3}|^\D*0\.\d",
)
_OPEN = (r",\d{3}\D*$", r"\.\d{3}\D*$")
# Letters of a group and the mark before it.
_GROUP = 4
_WHOLE = re.compile(r"[+-]?\d+\.0+", re.ASCII)


def recognise(fields: Sequence[Field], cells: "pl.DataFrame", *, separator: str) -> dict[str, str]:
    """Recognise each number column's decimal mark: “.”, “,” or, where it stays open, none.

    One group of three digits, as in 1,071 and 1.071, is either; other cells and columns decide. A column that shows
    nothing has the mark of the others; where nothing decides, a point is one.
    """
    import polars as pl

    marks: dict[str, str] = {}
    groups: dict[str, tuple[bool, bool]] = {}
    for field in fields:
        if not field.is_numeric or field.name not in cells.columns:
            continue
        column = pl.col(field.name)
        comma, point, comma_group, point_group = cells.select(
            column.str.contains(pattern).any().alias(pattern) for pattern in (*_SURE, *_OPEN)
        ).row(0)
        if comma or point:
            marks[field.name] = "" if comma and point else "," if comma else "."
        elif comma_group or point_group or not field.is_integer:
            groups[field.name] = comma_group, point_group
    seen = set(marks.values()) - {""}
    if separator == ";" and not seen and any(comma_group for comma_group, _point_group in groups.values()):
        seen = {","}
    if len(seen) == 1:
        return {**marks, **dict.fromkeys(groups, seen.pop())}
    return {**marks, **{name: "" for name, (comma_group, _point_group) in groups.items() if seen or comma_group}}


def currencies(texts: Iterable[str]) -> set[str]:
    """Return the currencies that texts name.

    >>> sorted(currencies(["$350", "35 EUR", "Fare (€)", "Europe", "7.25"]))
    ['EUR', 'USD']
    """
    found = {each.upper() for text in texts for each in _NAMED_CURRENCY.findall(text)}
    return {_SIGNS.get(each, each) for each in found}


@lru_cache
def _around(units: Sequence[str]) -> re.Pattern[str]:
    """Match what stands before and after a number: “about”, a currency, a unit."""
    after = "|".join((_CURRENCY, *map(re.escape, units)))
    return re.compile(rf"^\s*(?:{_ABOUT})?\s*(?:{_CURRENCY})?\s*|\s*(?:{after})\s*$", re.IGNORECASE)


def plain_number(field: Field, text: str, mark: str | None) -> str:
    """Write a number as the contract reads it: without currency, unit and thousands, with a point.

    >>> price = Field("price", "number", is_required=False)
    >>> [plain_number(price, text, ".") for text in ("£7.25", "c. 7.25", "1,071.28", "1,071", "7,25", "7 miles")]
    ['7.25', '7.25', '1071.28', '1071', '7.25', '7 miles']
    >>> [plain_number(price, text, ",") for text in ("7,25 €", "1.071,28", "1.071")]
    ['7.25', '1071.28', '1071']

    Without a mark a number is read that can only be one, whatever stands in other cells.

    >>> [plain_number(price, text, "") for text in ("7,25", "0,925", "1.071.280", "1,071.28", "1,071", "1.071")]
    ['7.25', '0.925', '1071280', '1071.28', '1,071', '1,071']
    """
    number = _around(tuple(field.in_files.units)).sub("", text) or text
    grouped = re.fullmatch(rf"([+-]?[1-9]\d{{0,2}})((?:([.,{_BLANKS}])\d{{3}})(?:\3\d{{3}})*)(?:([.,])(\d+))?", number)
    if grouped:
        whole, groups, group, point, decimals = grouped.groups()
        # Two groups, or one and another mark after it, leave no doubt; else the column's mark makes no group.
        is_sure = point or group in _BLANKS or len(groups) > _GROUP
        if point != group and (is_sure or {".": ",", ",": "."}.get(mark or "") == group):
            digits = re.sub(r"\D", "", groups)
            return f"{whole}{digits}.{decimals}" if point else f"{whole}{digits}"
        if mark == "":
            # It is no number to the contract.
            return number.replace(".", ",")
    if re.fullmatch(r"[+-]?\d*,\d+", number) and (mark == "," or not grouped):
        number = number.replace(",", ".")
    if field.is_integer and _WHOLE.fullmatch(number):
        number = number.partition(".")[0]
    return number
