"""Reading a CSV table: its bytes, its header, its rows in chunks. Pure: a file in, columns of cells out."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from ingestion.contract import gettext_noop

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

CHUNK_ROWS = 10_000
LONGEST_CELL = 100_000
#: What is said of a row with too few or too many cells.
RAGGED = gettext_noop("The row has another number of cells than the header.")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class TableError(ValueError):
    """A table that is refused whole: an untranslated message with its parameters."""

    def __init__(self, message: str, **params: object) -> None:
        super().__init__(message % params)
        self.message = message
        self.params = params


@dataclass(frozen=True)
class Chunk:
    """Rows as they stand and as cells by column, their line numbers, and the rows with a wrong number of cells."""

    header: list[str]
    rows: list[list[str]]
    lines: list[int]
    cells: dict[str, list[str]]
    ragged: dict[int, list[str]]
    bytes_read: int


def column_name(heading: str) -> str:
    """A heading as it is compared: `PassengerId`, `passenger_id` and `Passenger ID` are one.

    >>> column_name(" Passenger ID ")
    'passengerid'
    """
    return re.sub(r"[^a-z0-9.]", "", heading.lower())


def read(file: IO[bytes], *, known: Sequence[str], required: Sequence[str]) -> Iterator[Chunk]:
    """The table in chunks of `CHUNK_ROWS` rows, by the `known` columns it has; raises TableError."""
    if file.read(2) in _UTF16:
        raise TableError(gettext_noop("The file is UTF-16. Save it as UTF-8."))
    file.seek(0)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(text, strict=True)
    try:
        yield from _chunks(reader, file, known, required)
    except UnicodeDecodeError as error:
        raise TableError(gettext_noop("The file is not UTF-8. Save it as UTF-8.")) from error
    except csv.Error as error:
        message = gettext_noop("Line %(line)s cannot be read as CSV: %(reason)s.")
        raise TableError(message, line=reader.line_num, reason=error) from error
    finally:
        text.detach()


def _chunks(reader: "CsvReader", file: IO[bytes], known: Sequence[str], required: Sequence[str]) -> Iterator[Chunk]:
    header = next(reader, None)
    if not header:
        raise TableError(gettext_noop("The file is empty."))
    places = _places(header, known, required)
    rows: list[list[str]] = []
    lines: list[int] = []
    ragged: dict[int, list[str]] = {}
    for row in reader:
        if len(row) != len(header):
            # A blank line is no row.
            if row:
                ragged[reader.line_num] = row
            continue
        rows.append(row)
        lines.append(reader.line_num)
        if len(rows) == CHUNK_ROWS:
            yield Chunk(header, rows, lines, _cells(rows, places), ragged, file.tell())
            rows, lines, ragged = [], [], {}
    if rows or ragged:
        yield Chunk(header, rows, lines, _cells(rows, places), ragged, file.tell())


def _cells(rows: list[list[str]], places: dict[str, int]) -> dict[str, list[str]]:
    columns = list(zip(*rows, strict=True))
    return {name: list(columns[place]) if rows else [] for name, place in places.items()}


def _places(header: Sequence[str], known: Sequence[str], required: Sequence[str]) -> dict[str, int]:
    """Where each known column stands."""
    names = [column_name(heading) for heading in header]
    places: dict[str, int] = {}
    for name in known:
        found = [place for place, heading in enumerate(names) if heading == column_name(name)]
        if len(found) > 1:
            raise TableError(gettext_noop("The column %(name)s is there twice. Remove one."), name=name)
        if found:
            places[name] = found[0]
    missing = [name for name in required if name not in places]
    if missing:
        message = gettext_noop(
            "The table has no column %(missing)s. The first line must name the columns, separated by commas."
        )
        raise TableError(message, missing=", ".join(missing))
    return places
