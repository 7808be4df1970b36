"""Read a CSV table: its bytes, its header, its rows in blocks. Pure: a file in, frames of cells out.

numpy cuts and checks a block by the positions of its quotes, separators and line ends; only rows of the right width go
to polars. So a row with a cell too many is named by its line number, and so is a quote that is never closed.
"""

import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from ingestion.contract import gettext_noop

if TYPE_CHECKING:
    import polars as pl

BLOCK_BYTES = 2 * 1024**2
LONGEST_ROW = 1024**2
#: Limits of a compressed table: bytes when unpacked, and the factor by which it grows. Real tables stay far below.
LARGEST_TABLE = 16 * 1024**3
LARGEST_EXPANSION = 200
#: Message for a row with too few or too many cells.
RAGGED = gettext_noop("The row has another number of cells than the header.")
_BROKEN_GZIP = gettext_noop("The gzip file is damaged or breaks off. Compress and send it again.")
_UNCLOSED = gettext_noop("A quote that opens on line %(line)s is not closed, or the line is longer than 1 MB.")
_STRAY = gettext_noop(
    "Line %(line)s cannot be read as CSV: a quote stands in the middle of a cell. Quote the whole cell and "
    "double the quotes within it."
)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_QUOTE, _COMMA, _NEWLINE, _RETURN = b'",\n\r'
Positions = NDArray[np.int64]


class TableError(ValueError):
    """The whole table is rejected: an untranslated message with its parameters."""

    def __init__(self, message: str, **params: object) -> None:
        super().__init__(message % params)
        self.message = message
        self.params = params


@dataclass(frozen=True)
class Chunk:
    """Rows of one block: all cells (n rows, text), column indices, line numbers, and rows of another width."""

    header: list[str]
    table: "pl.DataFrame"
    column_indices: dict[str, int]
    lines: Positions
    ragged: dict[int, list[str]]

    @property
    def cells(self) -> "pl.DataFrame":
        """The known columns by their names."""
        return self.table.select(self.table[_column(index)].alias(name) for name, index in self.column_indices.items())

    @property
    def row_count(self) -> int:
        """Number of all rows, those of another width too."""
        return len(self.lines) + len(self.ragged)


def column_name(heading: str) -> str:
    """Normalise a heading: `PassengerId`, `passenger_id` and `Passenger ID` are the same.

    >>> column_name(" Passenger ID ")
    'passengerid'
    """
    return re.sub(r"[^a-z0-9.]", "", heading.lower())


def read(
    file: IO[bytes],
    *,
    known: Sequence[str],
    required: Sequence[str],
    headings: Mapping[str, str] | None = None,
    known_only: bool = False,
) -> Iterator[Chunk]:
    """Read the table block by block; raises TableError.

    `headings` maps columns to their headings where these differ from the names. With `known_only` all columns but the
    `known` ones are left out, which is faster.
    """
    try:
        blocks = _records(_unpacked(file), size=BLOCK_BYTES)
        header = _header(next(blocks, (0, b""))[1])
        column_indices = _find_columns(header, known, required, headings or {})
        for line, block in blocks:
            yield _chunk(block, line, header, column_indices, known_only=known_only)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise TableError(_BROKEN_GZIP) from error


class Part(NamedTuple):
    """Whole records of a table: their start and end in bytes of the unpacked table, and the number of lines before."""

    start: int
    end: int
    line: int


def read_part(data: bytes, *, line: int, header: list[str], known: Sequence[str], required: Sequence[str]) -> Chunk:
    """Read the rows of one part, with `line` lines before it; raises TableError."""
    return _chunk(data, line, header, _find_columns(header, known, required, {}), known_only=False)


def split(
    file: IO[bytes], *, out: IO[bytes], known: Sequence[str], required: Sequence[str], size: int | None = None
) -> tuple[list[str], list[Part]]:
    """Cut a table into parts for `read_part`, and write it to `out` as plain CSV; raises TableError.

    A part has `size` bytes or little more, where no line is longer. The whole table is checked: each part can be
    read.
    """
    try:
        blocks = _records(_unpacked(file), size=size or BLOCK_BYTES)
        _line, first = next(blocks, (0, b""))
        header, parts = _header(first), []
        _find_columns(header, known, required, {})
        end = out.write(first)
        for line, block in blocks:
            _decoded(block, line)
            raw = np.frombuffer(block, np.uint8)
            _check_quotes(raw, np.flatnonzero(raw == _QUOTE), np.flatnonzero(raw == _NEWLINE), line)
            parts.append(Part(end, end + out.write(block), line))
            end = parts[-1].end
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise TableError(_BROKEN_GZIP) from error
    return header, parts


def _unpacked(file: IO[bytes]) -> IO[bytes]:
    start = file.read(3)
    file.seek(0)
    if start[:2] in _UTF16:
        raise TableError(gettext_noop("The file is UTF-16. Save it as UTF-8."))
    if start.startswith(_GZIP):
        return io.BufferedReader(_Bounded(file), BLOCK_BYTES)
    file.seek(len(_BOM) if start == _BOM else 0)
    return file


class _Bounded(io.RawIOBase):
    """Read a gzip file; raise TableError where it grows beyond the limits."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._unpacked = gzip.GzipFile(fileobj=file)
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        block = self._unpacked.read(len(buffer))
        if not self._size and block.startswith(_BOM):
            block = block[len(_BOM) :]
        self._size += len(block)
        if self._size > min(LARGEST_TABLE, BLOCK_BYTES + LARGEST_EXPANSION * self._file.tell()):
            raise TableError(gettext_noop("The gzip file unpacks to more than any table would. It was not loaded."))
        buffer[: len(block)] = block
        return len(block)


def _records(file: IO[bytes], *, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of whole records, each with the number of lines before it; the first is the header alone."""
    rest, line, end_of = b"", 0, _end_of_first_record
    while block := file.read(size):
        rest += block
        while end := end_of(rest):
            yield line, rest[:end]
            line += rest.count(b"\n", 0, end)
            # After the header all whole records make one block.
            rest, end_of = rest[end:], _end_of_last_record
        if len(rest) > LONGEST_ROW:
            _raise_unclosed(rest, line)
    if rest.count(b'"') % 2:
        _raise_unclosed(rest, line)
    if rest:
        yield line, rest + b"\n"


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


def _header(first: bytes) -> list[str]:
    if not first:
        raise TableError(gettext_noop("The file is empty."))
    if not first.strip():
        raise TableError(gettext_noop("The first line is empty: it must name the columns, separated by commas."))
    if b"\0" in first:
        raise TableError(gettext_noop("The file is UTF-16 or no text at all. Save it as UTF-8."))
    if len(first) > LONGEST_ROW:
        raise TableError(_UNCLOSED, line=1)
    header = _cells(_decoded(first, 0).removesuffix("\n"))
    if any("\r" in heading for heading in header):
        raise TableError(gettext_noop("The lines end with a carriage return alone. Save the table with line feeds."))
    if len(header) == 1 and (other := re.search(r"[;\t|]", header[0])):
        message = gettext_noop("The columns are separated by “%(other)s”. Save the table with commas.")
        raise TableError(message, other={"\t": "TAB"}.get(other[0], other[0]))
    return header


def _decoded(data: bytes, line: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        message = gettext_noop("The file is not UTF-8 (line %(line)s). Save it as UTF-8.")
        raise TableError(message, line=line + 1 + data.count(b"\n", 0, error.start)) from error


def _chunk(block: bytes, line: int, header: list[str], column_indices: dict[str, int], *, known_only: bool) -> Chunk:
    _decoded(block, line)
    raw = np.frombuffer(block, np.uint8)
    outside = _outside(raw)
    newlines = np.flatnonzero(raw == _NEWLINE)
    _check_quotes(raw, np.flatnonzero(raw == _QUOTE), newlines, line)
    ends = newlines[outside[newlines]]
    starts = np.concatenate(([0], ends[:-1] + 1))
    lines = line + 1 + np.searchsorted(newlines, starts)
    widths = 1 + np.add.reduceat(((raw == _COMMA) & outside).view(np.uint8), starts, dtype=np.int32)
    # Blank lines are no rows.
    is_blank = (ends == starts) | ((ends == starts + 1) & (raw[starts] == _RETURN))
    has_width = (widths == len(header)) & ~is_blank
    ragged = {
        int(lines[row]): _cells(block[starts[row] : ends[row]].decode())
        for row in np.flatnonzero(~has_width & ~is_blank)
    }
    rows = block if has_width.all() else raw[np.repeat(has_width, ends - starts + 1)].tobytes()
    read_indices = sorted(column_indices.values()) if known_only else range(len(header))
    return Chunk(header, _frame(rows, len(header), read_indices), column_indices, lines[has_width], ragged)


def _cells(record: str) -> list[str]:
    """Split one record, whose quotes were checked, into cells.

    >>> _cells('1,"Ellen ""Nellie"" O",,x')
    ['1', 'Ellen "Nellie" O', '', 'x']
    """
    cells: list[str] = []
    parts: list[str] = []
    is_open = False
    for part in record.removesuffix("\r").split(","):
        parts.append(part)
        is_open ^= part.count('"') % 2 == 1
        if not is_open:
            cells.append(",".join(parts))
            parts = []
    return [cell[1:-1].replace('""', '"') if cell.startswith('"') else cell for cell in cells]


def _check_quotes(raw: NDArray[np.uint8], quotes: Positions, newlines: Positions, line: int) -> None:
    """Raise TableError for a quote that neither opens nor closes a cell nor is doubled: later cells would be wrong."""
    opening, closing = quotes[::2], quotes[1::2]
    before = np.where(opening > 0, raw[opening - 1], _NEWLINE)
    is_stray = ~np.isin(before, (_COMMA, _NEWLINE, _QUOTE))
    after = raw[np.minimum(closing + 1, len(raw) - 1)]
    stray_quotes = np.concatenate((opening[is_stray], closing[~np.isin(after, (_COMMA, _NEWLINE, _RETURN, _QUOTE))]))
    if len(stray_quotes):
        stray = stray_quotes.min()
        opened, at = line + 1 + np.searchsorted(newlines, [_opening(raw, quotes, stray), stray])
        # A quote that closes on a later line most likely opens a cell there: the one before it was never closed.
        raise TableError(_STRAY if opened == at else _UNCLOSED, line=int(opened))


def _raise_unclosed(record: bytes, line: int) -> NoReturn:
    """Raise TableError with the line on which a record that does not end was opened; `line` lines are before it."""
    raw = np.frombuffer(record, np.uint8)
    quotes, newlines = np.flatnonzero(raw == _QUOTE), np.flatnonzero(raw == _NEWLINE)
    _check_quotes(raw, quotes, newlines, line)
    opened = _opening(raw, quotes, len(raw)) if len(quotes) % 2 else 0
    raise TableError(_UNCLOSED, line=line + 1 + int(np.searchsorted(newlines, opened)))


def _opening(raw: NDArray[np.uint8], quotes: Positions, position: int) -> int:
    """Find the last quote up to a position that opens a cell; one after another quote continues its cell."""
    opening = quotes[::2][quotes[::2] <= position]
    return int(opening[(opening == 0) | (raw[opening - 1] != _QUOTE)][-1])


def _frame(data: bytes, width: int, indices: Sequence[int]) -> "pl.DataFrame":
    # polars takes a second to import, and only workers need it.
    import polars as pl

    names = [_column(index) for index in range(width)]
    if not data:
        return pl.DataFrame(schema={names[index]: pl.String for index in indices})
    schema = dict.fromkeys(names, pl.String)
    return pl.read_csv(data, has_header=False, schema=schema, columns=list(indices), empty_string_is_null=False)


def _column(index: int) -> str:
    return f"column_{index}"


def _find_columns(
    header: Sequence[str], known: Sequence[str], required: Sequence[str], headings: Mapping[str, str]
) -> dict[str, int]:
    """Find the index of each known column; raises TableError for one that is missing or is there twice."""
    names = [column_name(heading) for heading in header]
    indices: dict[str, int] = {}
    for name in dict.fromkeys((*known, *required)):
        heading = headings.get(name, name)
        matches = [index for index, normalised in enumerate(names) if normalised == column_name(heading)]
        if len(matches) > 1:
            raise TableError(gettext_noop("The column %(name)s is there twice. Remove one."), name=heading)
        if matches:
            indices[name] = matches[0]
    missing = [headings.get(name, name) for name in required if name not in indices]
    if missing:
        message = gettext_noop(
            "The table has no column %(missing)s. The first line must name the columns, separated by commas."
        )
        raise TableError(message, missing=", ".join(missing))
    return {name: index for name, index in indices.items() if name in known}
