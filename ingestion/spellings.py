"""Write a file's cells as the contract does: missing-value markers, synonyms of choices, numbers with units. Pure.

`spell` says what one cell means; a column is spelt by its distinct cells, so that a million cost little.
"""

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING

from ingestion.contract import MARKERS, Field
from ingestion.decimals import currencies, plain_number

if TYPE_CHECKING:
    import polars as pl

_MOST_COUNTED = 10_000
# Between a choice and a remark.
_REMARK = re.compile(r"\s*[,()]\s*|\s+[-–=:]\s+")


def spell(field: Field, cell: str, *, mark: str | None = ".", markers: Container[str] = MARKERS) -> str:
    """Return a cell in the contract's spelling, blank where it means unknown; what is not known stays as it is.

    >>> port = Field("port", "choice", is_required=False, choices=("C", "S"))
    >>> [spell(port, cell) for cell in (" s ", "N/A", "Xanten", "S (Soton)", "S, not C", "S, C")]
    ['S', '', 'Xanten', 'S', 'S', 'S, C']
    >>> spell(Field("label", "choice", is_required=True, choices=(0, 1)), "Yes")
    '1'
    """
    meaning = field.meaning(cell, markers=markers)
    if meaning is None or not isinstance(meaning, str) or meaning in field.choices:
        return "" if meaning is None else str(meaning)
    first, *remarks = _REMARK.split(meaning.casefold())
    choices = {field.by_spelling.get(part) for part in (first, *remarks)} - {None}
    if first in field.by_spelling and len(choices) == 1 and not any(map(str.isdigit, "".join(remarks))):
        return str(field.by_spelling[first])
    return plain_number(field, meaning, mark) if field.is_numeric else meaning


class Spellings:
    """How a table's cells are spelt, and a count of what was: the cells and meanings of each field.

    `currencies` are those that the cells of each field name.
    """

    def __init__(self, *, decimals: Mapping[str, str] | None = None, markers: Iterable[str] = ()) -> None:
        self.decimals = decimals or {}
        self.markers = frozenset(marker.strip().casefold() for marker in markers) or MARKERS
        self.counts: dict[str, Counter[tuple[str, str]]] = {}
        self.currencies: dict[str, set[str]] = {}

    def spell_row(self, fields: Iterable[Field], cells: Mapping[str, str]) -> dict[str, str]:
        """Spell the cells of one row, such as a person corrects."""
        by_name = {field.name: field for field in fields}
        return {
            name: spell(by_name[name], cell, mark=self.decimals.get(name), markers=self.markers)
            if name in by_name else cell
            for name, cell in cells.items()
        }  # fmt: skip

    def spell(self, field: Field, column: "pl.Series", is_plain: "pl.Series") -> "pl.Series":
        """Return the column (stripped cells), those that are not plain spelt anew."""
        if is_plain.all():
            return column
        odd = column.filter(~is_plain)
        mark = self.decimals.get(field.name)
        changes = {
            cell: meaning
            for cell in odd.unique().to_list()
            if (meaning := spell(field, cell, mark=mark, markers=self.markers)) != cell
        }
        if not changes:
            return column
        if field.is_numeric and (named := currencies(changes)):
            self.currencies.setdefault(field.name, set()).update(named)
        counts = self.counts.setdefault(field.name, Counter())
        for cell, count in odd.filter(odd.is_in(list(changes))).value_counts().iter_rows():
            if not _is_same_number(cell.replace(",", ".") if mark == "," else cell, changes[cell]):
                counts[cell[:60], changes[cell][:60]] += count
        if len(counts) > _MOST_COUNTED:
            # A column of amounts in pounds has as many cells as rows: the most frequent are told.
            self.counts[field.name] = Counter(dict(counts.most_common(_MOST_COUNTED // 2)))
        return column.replace(changes)


def _is_same_number(cell: str, meaning: str) -> bool:
    try:
        return float(cell) == float(meaning)
    except ValueError:
        return False
