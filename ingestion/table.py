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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import IO, TYPE_CHECKING, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from ingestion import decimals, headings
from ingestion.contract import Field, gettext_noop
from ingestion.formats import (
    BOM,
    HEADER_WITHIN,
    LONGEST_ROW,
    MOST_COLUMNS,
    MOST_ROWS,
    NO_TEXT,
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
# A blank separates cells where that alone finds the headings, as R writes tables.
SEPARATORS = ",;\t|^ "
# Quotes about cells, and what stands in their place.
STRAIGHT = '""'
_OTHER_QUOTES = ("''", "‘’", "“”", "„“", "””", "«»", "``")
#: Message for a row with too few or too many cells.
RAGGED = gettext_noop("The row has another number of cells than the header.")
_UNCLOSED = gettext_noop("A quote that opens on line %(line)s is not closed, or the line is longer than 1 MB.")
_STRAY = gettext_noop(
    "Line %(line)s cannot be read as CSV: a quote stands in the middle of a cell. Quote the whole cell and "
    "double the quotes within it."
)
# Excel's first line that names the separator.
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)
_BLANK_LINES = re.compile(r"(?:[ \r]*\n)*")
_QUOTE, _SPACE, _NEWLINE, _RETURN = b'" \n\r'
Positions = NDArray[np.int64]


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
    lines: Positions
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
        sample = raw[: raw.rfind(b"\n") + 1 if len(raw) == _SAMPLE_BYTES else None].decode(errors="ignore")
        self._start = len(BOM.encode()) if sample.startswith(BOM) else 0
        sample = sample.removeprefix(BOM)
        self._first_line = 0

        def skip(text: str) -> str:
            self._start += len(text.encode())
            self._first_line += text.count("\n")
            return sample[len(text) :]

        named = _SEPARATOR_LINE.match(sample)
        if named:
            sample = skip(named[0])
        blank = _BLANK_LINES.match(sample)
        assert blank is not None
        sample = skip(blank[0])
        above = _above_header(sample, known, named[1] if named else SEPARATORS.strip())
        self.above_header = [line.strip() for line in above.split("\n") if line.strip()]
        sample = skip(above)
        self.separator = named[1] if named and named[1].isascii() else _separator(sample, known)
        self.quotes = _quotes(sample, self.separator)
        if self.quotes != STRAIGHT:
            file.seek(self._start)
            self.file, self._start = _straighten(file, new_file(), self.quotes, self.separator), 0
        self.size = self.file.seek(0, io.SEEK_END)
        _line, self._head = next(self._records(BLOCK_BYTES), (0, b""))
        self._start += len(self._head)
        self._first_line += self._head.count(b"\n")
        self.header = _header(self._head, self.separator)
        self.file.seek(self._start)
        self.has_row_names = _has_row_names(self.file.read(_SAMPLE_BYTES), self.separator, len(self.header))
        if self.has_row_names:
            self.header.insert(0, "")

    def layout(self, columns: Mapping[str, int], fields: Sequence[Field]) -> Layout:
        """Recognise the decimal marks of the numbers among the fields in the table's first block."""
        plain = Layout(self.header, columns, self.separator)
        for chunk in self.chunks(plain):
            return Layout(
                self.header, columns, self.separator, decimals.recognise(fields, chunk.cells, separator=self.separator)
            )
        return plain

    def chunks(self, layout: Layout, *, only: Sequence[str] | None = None) -> Iterator[Chunk]:
        """Read the rows block by block, the columns of the fields `only` where these are given; raises TableError."""
        indices = None if only is None else sorted(layout.columns[name] for name in only if name in layout.columns)
        row_count = 0
        for line, block in self._records(BLOCK_BYTES):
            chunk = _chunk(block, line, layout, indices)
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
            clean = _trimmed(block, self.separator)
            raw = np.frombuffer(clean, np.uint8)
            _check_quotes(raw, np.flatnonzero(raw == _QUOTE), np.flatnonzero(raw == _NEWLINE), line, self.separator)
            parts.append(Part(end, end + out.write(clean), line))
            end = parts[-1].end
        return parts

    @property
    def progress(self) -> float:
        """The share of the table that is read, 0 to 1."""
        return self.file.tell() / max(self.size, 1)

    def _records(self, size: int) -> Iterator[tuple[int, bytes]]:
        """Yield blocks of whole records, each with the number of lines before it; the header by itself."""
        self.file.seek(self._start)
        rest, line = b"", self._first_line
        end_of = _end_of_last_record if hasattr(self, "header") else _end_of_first_record
        while block := self.file.read(size):
            rest += block
            if end := end_of(rest):
                yield line, rest[:end]
                line += rest.count(b"\n", 0, end)
                rest = rest[end:]
            if len(rest) > LONGEST_ROW:
                _raise_unclosed(rest, line, self.separator)
        # DOS ends a text with Ctrl-Z.
        rest = rest.rstrip(b"\x1a")
        if rest.count(b'"') % 2:
            _raise_unclosed(rest, line, self.separator)
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


def read_part(data: bytes, layout: Layout, *, line: int) -> Chunk:
    """Read the rows of one part, with `line` lines before it; raises TableError."""
    return _chunk(data, line, layout, None)


def _known_count(cells: Iterable[str], known: Sequence[Field]) -> int:
    """Count the known headings among cells."""
    return len({name for each in known for name in headings.names_of(each)} & set(map(headings.column_name, cells)))


def _above_header(sample: str, known: Sequence[Field], separators: str) -> str:
    """Return the lines above the header, such as a title; the header has the most known headings.

    They are much narrower than the header, and the first row is not wider: nothing of a table is taken for a title.
    """
    lines = [f"{line}\n" for line in sample.split("\n", 10 * HEADER_WITHIN)]
    filled = [number for number, line in enumerate(lines) if line.strip()][:HEADER_WITHIN]
    most, above = 0, ""
    for number, separator in product(filled, separators):
        rows = csv.reader(lines[number:], delimiter=separator, skipinitialspace=True)
        try:
            cells, row = next(rows, []), next(filter(None, rows), [])
            widths = [sum(map(bool, line)) for line in csv.reader(lines[:number], delimiter=separator)]
        except csv.Error:
            continue
        count = _known_count(cells, known)
        if count <= most:
            continue
        most, above = count, "".join(lines[:number])
        # With a quote open it is the second line of a heading.
        if len(cells) < len(row) or 2 * max(widths, default=0) > len(cells) or above.count('"') % 2:
            above = ""
    return above


def _separator(sample: str, known: Sequence[Field]) -> str:
    """Recognise what separates the cells: what finds the most known headings in the first line, then the most cells."""

    def score(separator: str) -> tuple[int, int]:
        try:
            header = next(csv.reader(io.StringIO(sample), delimiter=separator, skipinitialspace=separator != " "), [])
        except csv.Error:
            return 0, 0
        # Blanks stand in any line.
        return _known_count(header, known), len(header) if separator != " " else 0

    return max(SEPARATORS, key=score)


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


def _straighten(file: IO[bytes], out: IO[bytes], quotes: str, separator: str) -> IO[bytes]:
    """Write the rest of a file with straight quotes about its cells; raises TableError for a line that is too long."""
    cell, right = _quoted_cell(quotes, separator), quotes[1]

    def straight(match: re.Match[str]) -> str:
        text = match[2].replace(right * 2, right).replace('"', '""')
        return f'{match[1]}"{text}"'

    while line := file.readline(LONGEST_ROW + 1):
        if len(line) > LONGEST_ROW:
            raise TableError(gettext_noop("The table has a line that is longer than 1 MB."))
        out.write(cell.sub(straight, line.decode()).encode())
    return out


def _has_row_names(start: bytes, separator: str, width: int) -> bool:
    """Tell whether each of the first rows begins with a name that has no heading, as R writes tables.

    With commas the names must be quoted: each row has a cell too many where a name has a comma, too.
    """
    if separator == "," and not start.startswith(b'"'):
        return False
    lines = start.decode(errors="ignore").split("\n")
    try:
        # The last may not be whole.
        rows = [row for row in csv.reader(lines[: max(len(lines) - 1, 1)], delimiter=separator) if row]
    except csv.Error:
        return False
    names = {row[0] for row in rows}
    has_last = any(row[-1].strip() for row in rows)
    return has_last and len(names) == len(rows) and all(len(row) == width + 1 for row in rows)


def _end_of_first_record(data: bytes) -> int:
    """Find the end of the first line that ends outside quotes; 0 where there is none."""
    raw = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero((raw == _NEWLINE) & _outside(raw))
    return int(ends[0]) + 1 if len(ends) else 0


def _end_of_last_record(data: bytes) -> int:
    """Find the end of the last line that ends outside quotes; 0 where there is none."""
    end, quote_count = len(data), data.count(b'"')
    while (newline := data.rfind(b"\n", 0, end)) >= 0:
        quote_count -= data.count(b'"', newline, end)
        if quote_count % 2 == 0:
            return newline + 1
        end = newline
    return 0


def _outside(raw: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell which bytes are outside quotes: those with an even number of quotes up to them, shape (n,)."""
    return ~np.bitwise_xor.accumulate(raw == _QUOTE)


def _header(first: bytes, separator: str) -> list[str]:
    if b"\0" in first:
        raise TableError(NO_TEXT)
    if not first.strip():
        raise TableError(gettext_noop("The file is empty."))
    if len(first) > LONGEST_ROW:
        raise TableError(_UNCLOSED, line="1")
    clean = _trimmed(first, separator)
    raw = np.frombuffer(clean, np.uint8)
    _check_quotes(raw, np.flatnonzero(raw == _QUOTE), np.flatnonzero(raw == _NEWLINE), 0, separator)
    header = [cell.strip() for cell in _cells(clean.decode().removesuffix("\n"), separator)]
    if len(header) > MOST_COLUMNS:
        raise TableError(TOO_MANY_COLUMNS, most=MOST_COLUMNS)
    return header


def _trimmed(block: bytes, separator: str) -> bytes:
    """Remove blanks between separators and quotes, which would make a quote stand in the middle of a cell."""
    if separator == " " or (b' "' not in block and b'" ' not in block):
        return block
    raw = np.frombuffer(block, np.uint8)
    quotes, others = np.flatnonzero(raw == _QUOTE), np.flatnonzero(raw != _SPACE)
    opening, closing = quotes[::2], quotes[1::2]
    ends = (ord(separator), _NEWLINE, _RETURN)
    removed = np.zeros(len(raw) + 1, np.int8)
    # The last byte that is no blank before each quote that opens, and the first after each that closes.
    opening = opening[(opening > 0) & (raw[opening - 1] == _SPACE)]
    before = np.searchsorted(others, opening) - 1
    last = np.where(before < 0, -1, others[before])
    is_cell = (last < 0) | np.isin(raw[last], ends)
    np.add.at(removed, last[is_cell] + 1, 1)
    np.add.at(removed, opening[is_cell], -1)
    closing = closing[(closing + 1 < len(raw)) & (raw[np.minimum(closing + 1, len(raw) - 1)] == _SPACE)]
    following = others[np.minimum(np.searchsorted(others, closing + 1), len(others) - 1)]
    is_cell = np.isin(raw[following], ends)
    np.add.at(removed, closing[is_cell] + 1, 1)
    np.add.at(removed, following[is_cell], -1)
    kept: NDArray[np.uint8] = raw[np.cumsum(removed[:-1]) == 0]
    return kept.tobytes()


def _chunk(block: bytes, line: int, layout: Layout, indices: Sequence[int] | None) -> Chunk:
    separator, width = layout.separator, len(layout.header)
    block = _trimmed(block, separator)
    raw = np.frombuffer(block, np.uint8)
    outside = _outside(raw)
    newlines = np.flatnonzero(raw == _NEWLINE)
    _check_quotes(raw, np.flatnonzero(raw == _QUOTE), newlines, line, separator)
    ends = newlines[outside[newlines]]
    starts = np.concatenate(([0], ends[:-1] + 1))
    lines = line + 1 + np.searchsorted(newlines, starts)
    is_separator = (raw == ord(separator)) & outside
    widths = 1 + np.add.reduceat(is_separator.view(np.uint8), starts, dtype=np.int32)
    # Blank lines are no rows, nor are lines of separators alone, which spreadsheets write for them.
    is_blank = ends - starts - ((ends > starts) & (raw[ends - 1] == _RETURN)) == widths - 1
    surplus = np.where(is_blank, 0, widths - width)
    kept = None
    if (surplus > 0).any():
        # Blank cells beyond the last heading are no cells.
        last = ends - (raw[ends - 1] == _RETURN)
        others = np.flatnonzero(~is_separator)
        trailing = last - 1 - others[np.searchsorted(others, last) - 1]
        is_padded = (surplus > 0) & (trailing >= surplus)
        kept = np.ones(len(raw), dtype=bool)
        for row in np.flatnonzero(is_padded):
            kept[last[row] - surplus[row] : last[row]] = False
        widths[is_padded] = width
    has_width = (widths == width) & ~is_blank
    ragged = {
        int(lines[row]): _cells(block[starts[row] : ends[row]].decode(), separator)
        for row in np.flatnonzero(~has_width & ~is_blank)
    }
    rows = block
    if kept is not None or not has_width.all():
        is_row = np.repeat(has_width, ends - starts + 1)
        rows = raw[is_row if kept is None else is_row & kept].tobytes()
    return Chunk(layout, _frame(rows, width, separator, indices), lines[has_width], ragged)


def _cells(record: str, separator: str) -> list[str]:
    """Split one record, whose quotes were checked, into cells.

    >>> _cells('1,"Ellen ""Nellie"" O",,x', ",")
    ['1', 'Ellen "Nellie" O', '', 'x']
    """
    cells: list[str] = []
    parts: list[str] = []
    is_open = False
    for part in record.removesuffix("\r").split(separator):
        parts.append(part)
        is_open ^= part.count('"') % 2 == 1
        if not is_open:
            cells.append(separator.join(parts))
            parts = []
    return [cell[1:-1].replace('""', '"') if cell.startswith('"') else cell for cell in cells]


def _check_quotes(raw: NDArray[np.uint8], quotes: Positions, newlines: Positions, line: int, separator: str) -> None:
    """Raise TableError for a quote that neither opens nor closes a cell nor is doubled: later cells would be wrong."""
    opening, closing = quotes[::2], quotes[1::2]
    before = np.where(opening > 0, raw[opening - 1], _NEWLINE)
    is_stray = ~np.isin(before, (ord(separator), _NEWLINE, _QUOTE))
    after = raw[np.minimum(closing + 1, len(raw) - 1)]
    is_stray_end = ~np.isin(after, (ord(separator), _NEWLINE, _RETURN, _QUOTE))
    stray_quotes = np.concatenate((opening[is_stray], closing[is_stray_end]))
    if len(stray_quotes):
        stray = stray_quotes.min()
        opened, at = line + 1 + np.searchsorted(newlines, [_opening(raw, quotes, stray), stray])
        # A quote that closes on a later line most likely opens a cell there: the one before it was never closed.
        raise TableError(_STRAY if opened == at else _UNCLOSED, line=str(opened))


def _raise_unclosed(record: bytes, line: int, separator: str) -> NoReturn:
    """Raise TableError with the line on which a record that does not end was opened; `line` lines are before it."""
    raw = np.frombuffer(record, np.uint8)
    quotes, newlines = np.flatnonzero(raw == _QUOTE), np.flatnonzero(raw == _NEWLINE)
    _check_quotes(raw, quotes, newlines, line, separator)
    opened = _opening(raw, quotes, len(raw)) if len(quotes) % 2 else 0
    raise TableError(_UNCLOSED, line=str(line + 1 + int(np.searchsorted(newlines, opened))))


def _opening(raw: NDArray[np.uint8], quotes: Positions, position: int) -> int:
    """Find the last quote up to a position that opens a cell; one after another quote continues its cell."""
    opening = quotes[::2][quotes[::2] <= position]
    return int(opening[(opening == 0) | (raw[opening - 1] != _QUOTE)][-1])


def _frame(data: bytes, width: int, separator: str, indices: Sequence[int] | None) -> "pl.DataFrame":
    # polars takes a second to import, and only workers need it.
    import polars as pl

    names = [_column(index) for index in range(width)]
    read_indices = list(range(width) if indices is None else indices)
    if not data:
        return pl.DataFrame(schema={names[index]: pl.String for index in read_indices})
    schema = dict.fromkeys(names, pl.String)
    return pl.read_csv(
        data, has_header=False, schema=schema, columns=read_indices, separator=separator, empty_string_is_null=False
    )


def _column(index: int) -> str:
    return f"column_{index}"
