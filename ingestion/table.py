"""Read a table: its header and its rows in blocks. Pure: a file in, frames of cells out.

`formats` makes CSV in UTF-8 of any file. numpy cuts and checks a block by the positions of its quotes, separators and
line ends; only rows of the right width go to polars. So a row with a cell too many is named by its line number, and so
is a quote that is never closed.
"""

import csv
import io
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from operator import itemgetter
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingestion import decimals, headings
from ingestion.contract import Contract, Field, gettext_noop
from ingestion.formats import (
    HEADER_NAMES,
    HEADER_WITHIN,
    LONGEST_ROW,
    MOST_COLUMNS,
    MOST_ROWS,
    NO_TEXT,
    STRAIGHT,
    TOO_LARGE,
    TOO_MANY_COLUMNS,
    NewFile,
    Origin,
    TableError,
    to_csv,
)

if TYPE_CHECKING:
    import polars as pl

BLOCK_BYTES = 2 * 1024**2
_SAMPLE_BYTES = 256 * 1024
# Letters of a line above the header that are kept.
_LONGEST_LINE = 200
# A blank separates cells where that alone finds the headings, as R writes tables.
SEPARATORS = ",;\t|^ "
# Quotes in the place of straight ones.
_OTHER_QUOTES = ("''", "‘’", "“”", "„“", "””", "«»", "``")
#: Message for a row with too few or too many cells.
RAGGED = gettext_noop("The row has another number of cells than the header.")
_UNREADABLE = gettext_noop(
    "The row that begins on line %(line)s cannot be read as CSV: a quote is not closed, or stands in the middle of a "
    "cell, or the row is longer than 1 MB. Quote the whole cell, and double the quotes within it."
)
# A cell may be as long as a block: others are found to be too long by their lines.
csv.field_size_limit(2 * BLOCK_BYTES)
# A byte order mark, Excel's first line that names the separator, and blank lines.
_PREAMBLE = re.compile(r'\ufeff?(?:"?sep=([\t !#-~])"?\r?\n)?(?:[ \r]*\n)*', re.IGNORECASE)
_QUOTE, _NEWLINE, _RETURN = b'"\n\r'


@dataclass(frozen=True)
class Layout:
    """How a table's lines are read: its headings and separator, each known field's column, the decimal marks."""

    header: list[str]
    columns: Mapping[str, int]
    separator: str = ","
    decimals: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Chunk:
    """Rows of one block: all cells (n rows, text), the layout, line numbers, and rows of another width."""

    layout: Layout
    table: "pl.DataFrame"
    lines: NDArray[np.int64]
    ragged: dict[int, list[str]]

    @property
    def cells(self) -> "pl.DataFrame":
        """The known columns by their names, of those that were read."""
        names = {name: _column(index) for name, index in self.layout.columns.items()}
        read_columns = set(self.table.columns)
        return self.table.select(self.table[names[name]].alias(name) for name in names if names[name] in read_columns)

    @property
    def row_count(self) -> int:
        """Number of all rows, those of another width too."""
        return len(self.lines) + len(self.ragged)


class Part(NamedTuple):
    """Whole records of a table: their start and end in bytes of the table as CSV, and the number of lines before."""

    start: int
    end: int
    line: int


class Table:
    """An open table: what it was, its header, and how its lines are cut; read any number of times."""

    def __init__(self, file: IO[bytes], origin: Origin, known: Sequence[Field], new_file: NewFile) -> None:
        self.file, self.origin = file, origin
        file.seek(0)
        raw = file.read(_SAMPLE_BYTES)
        # A line that is not whole says nothing.
        sample = raw[: raw.rfind(b"\n") + 1 or None if len(raw) == _SAMPLE_BYTES else None].decode(errors="ignore")
        preamble = _PREAMBLE.match(sample)
        assert preamble is not None
        sample = sample[preamble.end() :]
        above, self.separator = _find_header(sample, known, preamble[1] or SEPARATORS)
        origin.above_header = [line.strip()[:_LONGEST_LINE] for line in above.split("\n") if line.strip()]
        origin.separator = self.separator
        sample = sample[len(above) :]
        skipped = preamble[0] + above
        self._start, self._first_line = len(skipped.encode()), skipped.count("\n")
        origin.quotes = _quotes(sample, self.separator)
        if origin.quotes != STRAIGHT:
            file.seek(self._start)
            self.file = _straighten(file, new_file(), origin.quotes, self.separator, first_line=self._first_line)
            self._start = 0
        self.size = self.file.seek(0, io.SEEK_END)
        self._head = _first_record(self.file, self._start, line=self._first_line + 1)
        self.header = _header(self._head, self.separator, line=self._first_line + 1)
        self._start += len(self._head)
        self._first_line += self._head.count(b"\n")
        self.file.seek(self._start)
        origin.has_row_names = _has_row_names(
            self.header, self.file.read(_SAMPLE_BYTES), self.separator, known, is_quoted=self._head.startswith(b'"')
        )
        if origin.has_row_names:
            self.header.insert(0, "")

    def layout(self, columns: Mapping[str, int], fields: Sequence[Field]) -> Layout:
        """Recognise the decimal marks of the numbers among the fields in the table's first block."""
        plain = Layout(self.header, columns, self.separator)
        chunk = next(self.chunks(plain), None)
        marks = {} if chunk is None else decimals.recognise(fields, chunk.cells, separator=self.separator)
        return replace(plain, decimals=marks)

    def chunks(self, layout: Layout, *, only: Sequence[str] | None = None) -> Iterator[Chunk]:
        """Read the rows block by block, the columns of the fields `only` where these are given; raises TableError."""
        indices = None if only is None else sorted(layout.columns[name] for name in only if name in layout.columns)
        row_count = 0
        for line, block in self._records(BLOCK_BYTES):
            chunk = read_part(block, layout, line=line, indices=indices)
            row_count += chunk.row_count
            if row_count > MOST_ROWS:
                raise TableError(TOO_LARGE)
            yield chunk

    def split(self, out: IO[bytes], *, size: int | None = None) -> list[Part]:
        """Cut the rows into parts for `read_part`; raises TableError where one cannot be read.

        The table is written to `out` as CSV in UTF-8. A part has `size` bytes or little more, where no line is longer.
        """
        parts: list[Part] = []
        end = out.write(self._head)
        for line, block in self._records(size or BLOCK_BYTES):
            # What cannot be cut is rejected before a part is scored.
            _cut(block, line, self.separator, len(self.header))
            parts.append(Part(end, end + out.write(block), line))
            end = parts[-1].end
        return parts

    @property
    def progress(self) -> float:
        """The share of the table that is read, 0 to 1."""
        return self.file.tell() / max(self.size, 1)

    def _records(self, size: int) -> Iterator[tuple[int, bytes]]:
        """Yield blocks of whole records, each with the number of lines before it."""
        self.file.seek(self._start)
        rest, line = b"", self._first_line
        while block := self.file.read(size):
            rest += block
            if end := _end_of_last_record(rest):
                yield line, rest[:end]
                line += rest.count(b"\n", 0, end)
                rest = rest[end:]
            if len(rest) > LONGEST_ROW:
                raise TableError(_UNREADABLE, line=str(line + 1))
        # DOS ends a text with Ctrl-Z.
        rest = rest.rstrip(b"\x1a")
        if rest.count(b'"') % 2:
            raise TableError(_UNREADABLE, line=str(line + 1))
        if rest:
            yield line, rest + b"\n"


@contextmanager
def open_table(
    file: IO[bytes], *, known: Sequence[Field], new_file: NewFile = tempfile.TemporaryFile
) -> Iterator[Table]:
    """Open a table of any supported format, whose columns may be the `known` fields; raises TableError."""
    with ExitStack() as stack:
        another_file: NewFile = lambda: stack.enter_context(new_file())  # noqa: E731
        plain, origin = to_csv(file, new_file=another_file, known_count=partial(_known_count, known=known))
        yield Table(plain, origin, known, another_file)


def read(
    file: IO[bytes], *, fields: Sequence[Field], required: Sequence[str], only: Sequence[str] | None = None
) -> Iterator[Chunk]:
    """Read a table of the fields block by block; a column that is not `required` may be missing. Raises TableError."""
    with open_table(file, known=fields) as table:
        found = headings.match(table.header, fields)
        headings.check(found, required=required)
        yield from table.chunks(table.layout(found.columns, fields), only=only)


def read_part(data: bytes, layout: Layout, *, line: int, indices: Sequence[int] | None = None) -> Chunk:
    """Read whole records, with `line` lines before them, the columns of `indices` alone if given; raises TableError."""
    # polars takes a second to import, and only workers need it.
    import polars as pl

    width = len(layout.header)
    rows, lines, ragged = _cut(data, line, layout.separator, width)
    schema = {_column(index): pl.String for index in range(width)}
    read_indices = list(range(width) if indices is None else indices)
    if not rows:
        return Chunk(layout, pl.DataFrame(schema={_column(index): pl.String for index in read_indices}), lines, ragged)
    table = pl.read_csv(
        rows, has_header=False, schema=schema, columns=read_indices, separator=layout.separator,
        empty_string_is_null=False,
    )  # fmt: skip
    return Chunk(layout, table, lines, ragged)


def reject_other_headers(chunk: Chunk, problems: Iterable[tuple[int, object]], known: Sequence[Field]) -> None:
    """Raise TableError where a rejected row is a header of other columns: the rows below it belong to another table.

    `problems` are the numbers of rejected rows, each with a cell that was wrong.
    """
    names = {name for field in known for name in headings.names_of(field)}
    header = [name for name in map(headings.column_name, chunk.layout.header) if name]
    rows = {row for row, cell in problems if headings.column_name(str(cell)) in names}
    rejected = {int(chunk.lines[row]): chunk.table.row(row) for row in rows} | chunk.ragged
    for line, cells in rejected.items():
        found = [name for name in map(headings.column_name, cells) if name]
        known_count = sum(name in names for name in found)
        if found != header and known_count >= max(HEADER_NAMES, len(found) / 2):
            message = gettext_noop("Line %(line)s is a header of other columns: send what is below it as another file.")
            raise TableError(message, line=str(line))


def _known_count(cells: Iterable[str], known: Sequence[Field]) -> int:
    """Count the known headings among cells."""
    return len({name for each in known for name in headings.names_of(each)} & set(map(headings.column_name, cells)))


def _find_header(sample: str, known: Sequence[Field], separators: str) -> tuple[str, str]:
    """Find the header, the line with the most known headings: return the lines above it and what separates its cells.

    Lines above, such as a title, are much narrower than the header, and the first row is not wider: nothing of a table
    is taken for a title. Without known headings it is the first line, with what makes the most cells.
    """
    lines = [f"{line}\n" for line in sample.split("\n", 10 * HEADER_WITHIN)]
    filled = [number for number, line in enumerate(lines) if line.strip()][:HEADER_WITHIN]
    found = [(0, 0, 0, separators[0])]
    for number, separator in product(filled, separators):
        rows = csv.reader(lines[number:], delimiter=separator, skipinitialspace=separator != " ")
        try:
            cells, row = next(rows, []), next(filter(None, rows), [])
            widths = [sum(map(bool, line)) for line in csv.reader(lines[:number], delimiter=separator)]
        except csv.Error:
            continue
        # With a quote open it is the second line of a heading.
        is_open = "".join(lines[:number]).count('"') % 2
        if not widths or (len(cells) >= len(row) and 2 * max(widths) <= len(cells) and not is_open):
            # Blanks stand in any line.
            found.append((_known_count(cells, known), -number, len(cells) if separator != " " else 0, separator))
    _count, number, _width, separator = max(found, key=itemgetter(0, 1, 2))
    return "".join(lines[:-number]) if number else "", separator


def _quoted_cell(quotes: str, separator: str) -> re.Pattern[str]:
    """Match a cell in such quotes, with the separator before it."""
    left, right = map(re.escape, quotes)
    edge = re.escape(separator)
    return re.compile(
        rf"((?:^|{edge}) *){left}((?:[^{right}\n]|{right}{right})*){right}(?= *(?:{edge}|\r?$))", re.MULTILINE
    )


def _quotes(sample: str, separator: str) -> str:
    """Recognise the quotes about cells: others than straight ones where each cell that begins with one ends so."""
    opening = rf"(?:^|{re.escape(separator)}) *"
    if not re.search(f'{opening}"', sample, re.MULTILINE):
        for quotes in _OTHER_QUOTES:
            opened = len(re.findall(opening + re.escape(quotes[0]), sample, re.MULTILINE))
            if opened and opened == len(_quoted_cell(quotes, separator).findall(sample)):
                return quotes
    return STRAIGHT


def _straighten(file: IO[bytes], out: IO[bytes], quotes: str, separator: str, *, first_line: int) -> IO[bytes]:
    """Write the rest of a file with straight quotes about its cells; raises TableError for a line that is too long."""
    cell, right = _quoted_cell(quotes, separator), quotes[1]

    def straight(match: re.Match[str]) -> str:
        text = match[2].replace(right * 2, right).replace('"', '""')
        return f'{match[1]}"{text}"'

    for number, line in enumerate(iter(partial(file.readline, LONGEST_ROW + 1), b""), start=first_line + 1):
        if len(line) > LONGEST_ROW:
            raise TableError(_UNREADABLE, line=str(number))
        out.write(cell.sub(straight, line.decode()).encode())
    return out


def _has_row_names(
    header: Sequence[str], start: bytes, separator: str, known: Sequence[Field], *, is_quoted: bool
) -> bool:
    """Tell whether each of the first rows begins with a name that has no heading, as R writes tables.

    R quotes a row's number, or it is the next cell too. Other names are such only if the first heading is a field that
    they do not fit: a cell too many is a decimal comma or a heading that is missing, and every row is rejected.
    """
    if separator == "," and not start.startswith(b'"'):
        # Each row has a cell too many where a name has a comma, too.
        return False
    lines = start.decode(errors="ignore").split("\n")
    try:
        # The last may not be whole.
        rows = [row for row in csv.reader(lines[: max(len(lines) - 1, 1)], delimiter=separator) if row]
    except csv.Error:
        return False
    names = [row[0] for row in rows]
    has_last = any(row[-1].strip() for row in rows)
    if not has_last or len(set(names)) < len(rows) or any(len(row) != len(header) + 1 for row in rows):
        return False
    is_numbered = is_quoted and start.startswith(b'"') and all(map(str.isdecimal, names))
    if is_numbered or names == [row[1] for row in rows]:
        return True
    field = next((each for each in known if headings.column_name(header[0]) in headings.names_of(each)), None)
    if field is None:
        return False
    contract = Contract([field])
    return all(contract.check({field.name: name}, is_text=True)[1] for name in names)


def _first_record(file: IO[bytes], start: int, *, line: int) -> bytes:
    """Read the lines to the first that ends outside quotes; raises TableError where there is none within a megabyte."""
    file.seek(start)
    record = b""
    while (end := file.readline(LONGEST_ROW + 1)) and len(record) <= LONGEST_ROW:
        record += end
        if record.count(b'"') % 2 == 0:
            break
    if len(record) > LONGEST_ROW or record.count(b'"') % 2:
        raise TableError(_UNREADABLE, line=str(line))
    return record


def _end_of_last_record(data: bytes) -> int:
    """Find the end of the last line that ends outside quotes; 0 where there is none."""
    end, quote_count = len(data), data.count(b'"')
    while (newline := data.rfind(b"\n", 0, end)) >= 0:
        quote_count -= data.count(b'"', newline, end)
        if quote_count % 2 == 0:
            return newline + 1
        end = newline
    return 0


def _header(first: bytes, separator: str, *, line: int) -> list[str]:
    if b"\0" in first:
        raise TableError(NO_TEXT)
    if not first.strip():
        raise TableError(gettext_noop("The file is empty."))
    header = [cell.strip() for cell in _cells(first, separator, line=line)]
    if len(header) > MOST_COLUMNS:
        raise TableError(TOO_MANY_COLUMNS, most=MOST_COLUMNS)
    return header


def _cut(block: bytes, line: int, separator: str, width: int) -> tuple[bytes, NDArray[np.int64], dict[int, list[str]]]:
    """Cut whole records: return the rows of so many cells, their line numbers, and the cells of other rows by line.

    A row that is not plain is read by Python's csv module, and written anew. Raises TableError.
    """
    raw = np.frombuffer(block, np.uint8)
    outside = ~np.bitwise_xor.accumulate(raw == _QUOTE)
    newlines = np.flatnonzero(raw == _NEWLINE)
    ends = newlines[outside[newlines]]
    starts = np.concatenate(([0], ends[:-1] + 1))
    lines = line + 1 + np.searchsorted(newlines, starts)
    widths = 1 + np.add.reduceat(((raw == ord(separator)) & outside).view(np.uint8), starts, dtype=np.int32)
    # Blank lines are no rows, nor are lines of separators alone, which spreadsheets write for them.
    is_blank = ends - starts - ((ends > starts) & (raw[ends - 1] == _RETURN)) == widths - 1
    is_row = (widths == width) & ~is_blank
    is_odd = ~is_row & ~is_blank
    # Quotes that neither open nor close a cell, nor are doubled.
    quotes = np.flatnonzero(raw == _QUOTE)
    opening, closing = quotes[::2], quotes[1::2]
    before = np.where(opening > 0, raw[opening - 1], _NEWLINE)
    is_inside = ~np.isin(before, (ord(separator), _NEWLINE, _QUOTE))
    is_followed = ~np.isin(raw[closing + 1], (ord(separator), _NEWLINE, _RETURN, _QUOTE))
    is_odd[np.searchsorted(ends, np.concatenate((opening[is_inside], closing[is_followed])))] = True
    if is_row.all() and not is_odd.any():
        return block, lines, {}
    anew: dict[int, bytes] = {}
    ragged: dict[int, list[str]] = {}
    for row in np.flatnonzero(is_odd).tolist():
        cells = _cells(block[starts[row] : ends[row]], separator, line=int(lines[row]))
        # Blank cells beyond the last heading are no cells.
        if len(cells) > width and not any(cells[width:]):
            del cells[width:]
        is_row[row] = len(cells) == width
        if is_row[row]:
            anew[row] = _record(cells, separator)
        else:
            ragged[int(lines[row])] = cells
    rows = [anew.get(row) or block[starts[row] : ends[row] + 1] for row in np.flatnonzero(is_row).tolist()]
    return b"".join(rows), lines[is_row], ragged


def _cells(record: bytes, separator: str, *, line: int) -> list[str]:
    """Read the cells of one record, with blanks about quotes too; raises TableError for a stray quote.

    >>> _cells(b'1, "Ellen ""Nellie"" O" ,,x', ",", line=1)
    ['1', 'Ellen "Nellie" O', '', 'x']
    """
    text = record.decode().rstrip("\r\n")
    if '"' not in text:
        return text.split(separator)
    without_blanks = re.sub(rf'" +(?={re.escape(separator)}|$)', '"', text)
    for each in (text, without_blanks):
        with suppress(csv.Error):
            return next(csv.reader([each], delimiter=separator, skipinitialspace=separator != " ", strict=True))
    raise TableError(_UNREADABLE, line=str(line))


def _record(cells: Sequence[str], separator: str) -> bytes:
    """Write cells as one record."""
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator="\n").writerow(cells)
    return out.getvalue().encode()


def _column(index: int) -> str:
    return f"column_{index}"
