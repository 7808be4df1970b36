"""Turn a file of any supported format into CSV in UTF-8. Pure: a file in, a file out, and what was recognised.

CSV in any common encoding, Excel workbooks, Parquet, JSON and JSON lines, each also in gzip or as the one table of a
zip archive. Anything else is rejected by the name of what it is. Whatever a file claims, it is never unpacked beyond
the limits.
"""

import codecs
import csv
import gzip
import io
import json
import logging
import re
import shutil
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, time
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import IO, TYPE_CHECKING, TypeGuard, cast
from xml.parsers import expat

import msgspec

from core.messages import Message
from ingestion.contract import gettext_noop

if TYPE_CHECKING:
    import polars as pl
    from openpyxl.worksheet._read_only import ReadOnlyWorksheet  # type: ignore[import-untyped]

logger = logging.getLogger(__name__)

#: The quotes about cells.
STRAIGHT = '""'
#: Limits of every table: bytes of its text, the factor by which a packed one grows, columns, and rows.
LARGEST_TABLE = 16 * 1024**3
LARGEST_EXPANSION = 200
MOST_COLUMNS = 2_000
MOST_ROWS = 50_000_000
#: Bytes of the widest cell, and of the longest row.
LONGEST_ROW = 1024**2
#: Limits of what is read as a whole: a JSON document, the texts and the formats of a workbook.
LARGEST_DOCUMENT = 32 * 1024**2
BLOCK_BYTES = 2 * 1024**2
# Formats that store a repeated value once grow by more than text does; a small file may do so.
_FREE_BYTES = 512 * 1024**2
_LAYERS = 3
_HEAD_BYTES = 4096
# The list of an archive's files, in bytes: some thousands of files.
_LARGEST_DIRECTORY = 1024**2
_END_OF_DIRECTORY, _DIRECTORY_SIZE_AT, _END_BYTES = b"PK\x05\x06", 12, 66_000

#: What other files begin with, and what they are called.
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (rb"%PDF", gettext_noop("a PDF document")),
    (rb"\xd0\xcf\x11\xe0", gettext_noop("an old Excel workbook (.xls), or one with a password")),
    (rb"SQLite format 3", gettext_noop("an SQLite database")),
    (rb"ARROW1", gettext_noop("an Arrow (Feather) file")),
    (rb"ORC", gettext_noop("an ORC file")),
    (rb"Obj\x01", gettext_noop("an Avro file")),
    (rb"\x89HDF", gettext_noop("an HDF5 file")),
    (rb"\x93NUMPY", gettext_noop("a NumPy array")),
    (rb"\x80[\x04\x05]", gettext_noop("a Python pickle")),
    (rb"RDX", gettext_noop("an R data file")),
    (rb"\$FL2", gettext_noop("an SPSS file")),
    (rb"<stata_dta", gettext_noop("a Stata file")),
    (rb"BZh", gettext_noop("a bzip2 archive")),
    (rb"\xfd7zXZ", gettext_noop("an xz archive")),
    (rb"\x28\xb5\x2f\xfd", gettext_noop("a Zstandard archive")),
    (rb"7z\xbc\xaf", gettext_noop("a 7-Zip archive")),
    (rb"Rar!", gettext_noop("a RAR archive")),
    (rb".{257}ustar", gettext_noop("a tar archive")),
    (rb"\x89PNG|GIF8|\xff\xd8\xff", gettext_noop("an image")),
    (rb"(?i)\s*<(!doctype html|html|head|body|table)\b", gettext_noop("a web page (HTML)")),
    (rb"\s*<\?xml|\s*<\w+[\s>]", gettext_noop("an XML document")),
    (rb"(?i)\s*(%[^\n]*\s+)*@relation\b", gettext_noop("an ARFF file")),
    (rb"\s*\{\\rtf", gettext_noop("an RTF document")),
)
# Sheets and ranges of merged cells that are named.
_MOST_NAMED, _LONGEST_NAME = 20, 200
#: How many filled rows are searched for the header, below a title and notes.
HEADER_WITHIN = 20
# Three decimals, which in a text may be a group of thousands.
_OPEN = re.compile(r"\.\d{3}$")
#: So many known headings make a row a header.
HEADER_NAMES = 2
# How deep in a JSON document a table may lie.
_DEPTH = 6
_SHEETS = "application/vnd.oasis.opendocument.spreadsheet"
_BOMS = (
    # UTF-32's mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"), (codecs.BOM_UTF8, "utf-8-sig"),
)  # fmt: skip
_TABLE_NAMES = (".csv", ".tsv", ".tab", ".txt", ".xlsx", ".parquet", ".json", ".jsonl", ".ndjson", ".gz")
_BAD_NAMES = ("__MACOSX/", ".")

# The share of zero bytes in a text in UTF-16.
_UTF16_SHARE = 0.3
# Bytes that stand in no text, and those that stand in none from Windows.
_BINARY = re.compile(rb"[\x00-\x08]")
_NOT_WINDOWS = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
# The end of a member's name in JSON; in a text it may stand too.
_MEMBER = re.compile(rb'"\s*:')
# Two or three bytes that are one letter in UTF-8, and hardly ever stand together in another encoding.
_MULTIBYTE = re.compile(rb"[\xc3-\xdf][\x80-\xbf]|[\xe1-\xef][\x80-\xbf]{2}")

NewFile = Callable[[], IO[bytes]]
KnownCount = Callable[[Iterable[str]], int]


class TableError(ValueError):
    """The whole table is rejected: an untranslated message with its parameters."""

    def __init__(self, message: str, **params: object) -> None:
        # What a file says may be no text that PostgreSQL stores.
        self.params = {
            name: value.encode(errors="replace").decode().replace("\0", "␀") if isinstance(value, str) else value
            for name, value in params.items()
        }
        self.message = message
        super().__init__(message % self.params)


class Origin(msgspec.Struct):
    """How a table was written: the format, what it was packed in, its sheet, its encoding, how its lines are cut."""

    format: str = "CSV"
    packed_in: list[str] = []
    sheet: str = ""
    other_sheets: list[str] = []
    #: Ranges of cells that are merged over several rows.
    merged: list[str] = []
    encoding: str = "UTF-8"
    #: The lines above the header, such as a title.
    above_header: list[str] = []
    separator: str = ","
    #: What stands on both sides of a cell where it is needed.
    quotes: str = STRAIGHT
    #: Whether rows begin with a name that has no heading.
    has_row_names: bool = False


def to_csv(file: IO[bytes], *, new_file: NewFile, known_count: KnownCount) -> tuple[IO[bytes], Origin]:
    """Return the table as a CSV file in UTF-8, the file itself where it is one, and what it was; raises TableError.

    `known_count` counts the known headings among cells. Of a workbook's sheets the table is the first with a header
    near its top, else the first that has rows.
    """
    origin = Origin()
    for _layer in range(_LAYERS):
        file.seek(0)
        head = file.read(_HEAD_BYTES)
        if head.startswith(b"\x1f\x8b"):
            origin.packed_in.append("gzip")
            file = _unpack(gzip.GzipFile(fileobj=_from_start(file)), new_file(), packed=file.tell)
        elif head.startswith((b"PK\x03\x04", _END_OF_DIRECTORY)):
            with _archive(file) as archive:
                if "xl/workbook.xml" in archive.namelist():
                    origin.format = "Excel"
                    return _write_rows(_sheet_rows(archive, origin, known_count), new_file()), origin
                member = _only_table(archive)
                origin.packed_in.append("zip")
                file = _unpack(archive.open(member), new_file(), packed=partial(int, member.compress_size))
        else:
            break
    if head.startswith(b"PAR1"):
        origin.format = "Parquet"
        return _parquet_to_csv(file, new_file()), origin
    _reject_others(head)
    file = _to_utf8(file, origin, new_file)
    start = _from_start(file).read(_HEAD_BYTES).removeprefix(codecs.BOM_UTF8)
    _reject_others(start)
    if re.match(rb'\s*(\[\s*[\[{\]]|\{\s*["}])', start):
        return _write_rows(_json_rows(file, origin, known_count), new_file()), origin
    return file, origin


def _from_start(file: IO[bytes]) -> IO[bytes]:
    file.seek(0)
    return file


def _reject_others(head: bytes) -> None:
    for pattern, kind in _OTHERS:
        if re.match(pattern, head, re.DOTALL):
            _reject_as(kind)


def _reject_as(kind: str) -> None:
    message = gettext_noop("This is %(kind)s. Send the table as CSV, Excel (.xlsx), Parquet or JSON lines.")
    raise TableError(message, kind=Message(kind))


def _unpack(source: IO[bytes] | gzip.GzipFile, out: IO[bytes], *, packed: Callable[[], int]) -> IO[bytes]:
    """Write what is unpacked into a file; raises TableError for damage, and for more than a table would grow to."""
    bounded = _BoundedFile(out, most=lambda: BLOCK_BYTES + LARGEST_EXPANSION * packed())
    try:
        with source:
            shutil.copyfileobj(source, bounded, BLOCK_BYTES)
    except TableError:
        raise
    except _DAMAGE as error:
        raise TableError(_BROKEN) from error
    return out


class _BoundedFile(io.RawIOBase):
    """Write into a file up to a size."""

    def __init__(self, file: IO[bytes], *, most: Callable[[], int]) -> None:
        self._file, self._most = file, most

    def writable(self) -> bool:
        return True

    def write(self, block: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        size = self._file.write(block)
        if self._file.tell() > min(LARGEST_TABLE, self._most()):
            raise TableError(_TOO_MUCH)
        return size


NO_TEXT = gettext_noop("This is no text. Send the table as CSV, Excel (.xlsx), Parquet or JSON lines.")
_TOO_MUCH = gettext_noop("The file unpacks to more than any table would. It was not loaded.")
_BROKEN = gettext_noop("The compressed file is damaged or breaks off. Compress and send it again.")


_DAMAGE = (gzip.BadGzipFile, zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, ValueError)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    return iter(partial(file.read, BLOCK_BYTES), b"")


def _archive(file: IO[bytes]) -> zipfile.ZipFile:
    """Open a zip archive whose list of files is of ordinary size."""
    file.seek(max(file.seek(0, io.SEEK_END) - _END_BYTES, 0))
    _before, sign, end = file.read().rpartition(_END_OF_DIRECTORY)
    if not sign:
        raise TableError(_BROKEN)
    size = int.from_bytes(end[_DIRECTORY_SIZE_AT - 4 : _DIRECTORY_SIZE_AT], "little")
    if size > _LARGEST_DIRECTORY:
        raise TableError(gettext_noop("The archive has more files than any table would need."))
    try:
        return zipfile.ZipFile(file)
    except (*_DAMAGE, OSError) as error:
        raise TableError(_BROKEN) from error


def _only_table(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [each for each in archive.infolist() if not each.is_dir() and not each.filename.startswith(_BAD_NAMES)]
    names = {each.filename for each in members}
    if {"mimetype", "content.xml"} <= names:
        # Its only content is the kind.
        is_sheet = archive.getinfo("mimetype").file_size == len(_SHEETS)
        _reject_as(gettext_noop("an OpenDocument spreadsheet (.ods)") if is_sheet else gettext_noop("a document"))
    if "[Content_Types].xml" in names:
        _reject_as(gettext_noop("a document"))
    tables = [each for each in members if each.filename.lower().endswith(_TABLE_NAMES)] or members
    if len(tables) != 1:
        message = gettext_noop("The archive has %(count)s files (%(names)s): send one with the table alone.")
        raise TableError(message, count=len(tables), names=", ".join(each.filename[:60] for each in tables[:5]) or "–")
    if tables[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise TableError(_BROKEN)
    if tables[0].flag_bits & 1:
        raise TableError(gettext_noop("The archive is protected by a password. Send the table without one."))
    return tables[0]


def _to_utf8(file: IO[bytes], origin: Origin, new_file: NewFile) -> IO[bytes]:
    """Return the text as UTF-8 with line feeds: the file itself, or a copy; raises TableError."""
    encoding = _encoding(file)
    start = _from_start(file).read(LONGEST_ROW)
    # On an old Mac a carriage return alone ended lines.
    has_line_feeds = encoding.startswith("utf-16") or b"\n" in start or b"\r" not in start
    origin.encoding = encoding.removesuffix("-sig").upper()
    if encoding.startswith("utf-8") and has_line_feeds:
        return file
    out = new_file()
    line = 1
    try:
        for text in codecs.iterdecode(_blocks(file), encoding):
            line += text.count("\n")
            out.write((text if has_line_feeds else text.replace("\r", "\n")).encode())
    except UnicodeError as error:
        message = gettext_noop("The text cannot be read as %(encoding)s (after line %(line)s). Save it as UTF-8.")
        raise TableError(message, encoding=origin.encoding, line=str(line)) from error
    return out


def _encoding(file: IO[bytes]) -> str:
    """Recognise the encoding of the whole text; raises TableError."""
    head = _from_start(file).read(_HEAD_BYTES)
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding
    # Letters of ordinary tables have a zero byte before or after them in UTF-16.
    even, odd = head[::2].count(b"\0"), head[1::2].count(b"\0")
    if even + odd >= _UTF16_SHARE * len(head) > 1 and 0 in (even, odd):
        return "utf-16-be" if even else "utf-16-le"
    with suppress(UnicodeDecodeError):
        deque(codecs.iterdecode(_blocks(file), "utf-8"), maxlen=0)
        return "utf-8"
    is_windows = True
    for block in _blocks(file):
        if _BINARY.search(block):
            raise TableError(NO_TEXT)
        if _MULTIBYTE.search(block):
            raise TableError(gettext_noop("The text is UTF-8 in one part and not in another. Save it as UTF-8."))
        is_windows &= not _NOT_WINDOWS.search(block)
    if is_windows:
        return "cp1252"
    # It takes a tenth of a second to import.
    from charset_normalizer import from_bytes

    best = from_bytes(_from_start(file).read(BLOCK_BYTES)).best()
    if best is None:
        raise TableError(gettext_noop("The text’s encoding is not known. Save it as UTF-8."))
    return str(best.encoding)


def _write_rows(rows: Iterable[list[str]], out: IO[bytes]) -> IO[bytes]:
    """Write rows as CSV; raises TableError beyond the limits."""
    text = io.TextIOWrapper(out, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    size = 0
    try:
        for number, row in enumerate(rows, start=1):
            length = sum(len(cell) if cell.isascii() else len(cell.encode()) for cell in row)
            size += length
            if len(row) > MOST_COLUMNS:
                raise TableError(TOO_MANY_COLUMNS, most=MOST_COLUMNS)
            if length > LONGEST_ROW:
                raise TableError(_LONG_ROW, row=str(number))
            if number > MOST_ROWS or size > LARGEST_TABLE:
                raise TableError(TOO_LARGE)
            # A row without cells keeps its line.
            writer.writerow(row) if row else text.write("\n")
        text.detach()
    except UnicodeEncodeError as error:
        raise TableError(gettext_noop("The file has half a letter (a surrogate). Save it again.")) from error
    return out


TOO_MANY_COLUMNS = gettext_noop("The table has more than %(most)s columns.")
_LONG_ROW = gettext_noop("Row %(row)s is longer than 1 MB.")
TOO_LARGE = gettext_noop("The table is larger than any that is loaded here. Split it into smaller ones.")


def _sheet_rows(archive: zipfile.ZipFile, origin: Origin, known_count: KnownCount) -> Iterator[list[str]]:
    """Yield the rows of a workbook's first sheet with a header, else of the first that has some, as texts."""
    # It takes a fifth of a second to import.
    import openpyxl  # type: ignore[import-untyped]

    for member in archive.infolist():
        is_sheet = member.filename.startswith("xl/worksheets/")
        # No more than it says is read of a file.
        if member.file_size > (_FREE_BYTES * 4 if is_sheet else 2 * LARGEST_DOCUMENT):
            raise TableError(_TOO_MUCH)
    try:
        workbook = openpyxl.load_workbook(archive.fp, read_only=True, data_only=True)
        # Hidden sheets come last.
        sheets = sorted(workbook.worksheets, key=lambda sheet: bool(sheet.sheet_state != "visible"))
        tops = {sheet.title: list(islice(filter(None, _rows_of_sheet(sheet)), HEADER_WITHIN)) for sheet in sheets}
        filled = [sheet for sheet in sheets if tops[sheet.title]]
        if not filled:
            return
        with_header = (sheet for sheet in filled if max(map(known_count, tops[sheet.title])) >= HEADER_NAMES)
        chosen = next(with_header, filled[0])
        origin.sheet = str(chosen.title)
        others = [str(sheet.title) for sheet in filled if sheet is not chosen]
        origin.other_sheets = [title[:_LONGEST_NAME] for title in others[:_MOST_NAMED]]
        with archive.open(str(chosen._worksheet_path).lstrip("/")) as file:
            origin.merged = _Worksheet(file).merged
        # The first row with the most known headings; without any, the first that is no title.
        header = max(tops[chosen.title], key=lambda cells: (known_count(cells), len(cells) > 1))
        width = 0
        for cells in _rows_of_sheet(chosen):
            width = width or len(header) * (cells == header)
            yield cells + [""] * (width - len(cells)) if cells else []
    except TableError:
        raise
    except Exception as error:
        # The library raises whatever the damage leads to.
        logger.warning("A workbook could not be read.", exc_info=True)
        raise TableError(gettext_noop("The workbook is damaged. Open it in Excel, and save it again.")) from error


def _rows_of_sheet(sheet: "ReadOnlyWorksheet") -> Iterator[list[str]]:
    sheet.reset_dimensions()
    for values in sheet.iter_rows(values_only=True):
        cells = [_text(value) for value in values]
        while cells and not cells[-1]:
            cells.pop()
        yield cells


class _Worksheet:
    """Read a worksheet's XML: `merged` are the ranges of cells merged over several rows, blank but for the first.

    Raises TableError where a formula has no value: programs that write workbooks leave that to Excel.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.merged: list[str] = []
        self._row = self._column = 0
        self._cell, self._is_text, self._has_formula, self._has_value = "", False, False, False
        self._open = ""
        parser = expat.ParserCreate()
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._text
        parser.ParseFile(file)

    def _start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._open = tag.rpartition(":")[2]
        match self._open:
            case "row":
                self._row, self._column = int(attributes.get("r", self._row + 1)), 0
            case "c":
                self._column += 1
                self._cell = attributes.get("r", "")[:_LONGEST_NAME]
                # One whose value is an empty text says that it is text.
                self._is_text, self._has_formula, self._has_value = attributes.get("t") == "str", False, False
            case "f":
                self._has_formula = True
            case "mergeCell":
                first, _colon, last = attributes.get("ref", "").partition(":")
                if len(self.merged) < _MOST_NAMED and re.sub(r"\D", "", first) != re.sub(r"\D", "", last):
                    self.merged.append(f"{first}:{last}"[:_LONGEST_NAME])

    def _text(self, text: str) -> None:
        if self._open in ("v", "t"):
            self._has_value |= not text.isspace()

    def _end(self, tag: str) -> None:
        self._open = ""
        if self._has_formula and not (self._has_value or self._is_text) and tag.rpartition(":")[2] == "c":
            message = gettext_noop(
                "The workbook has formulas whose values were never calculated, the first in %(cell)s. Open it in "
                "Excel, and save it again."
            )
            # A cell may go without its place.
            from openpyxl.utils import get_column_letter  # type: ignore[import-untyped]

            raise TableError(message, cell=self._cell or f"{get_column_letter(self._column)}{self._row}")


def _text(value: object) -> str:
    """Write a value as a person would in CSV; a number of three decimals with a fourth, for 7.925 may be thousands.

    >>> [_text(value) for value in (None, True, 3.0, 7.25, 7.925, "7.925", date(2026, 11, 30))]
    ['', 'true', '3', '7.25', '7.9250', '7.925', '2026-11-30']
    """
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return str(int(value)) if value.is_integer() and abs(value) < 2**53 else _OPEN.sub(r"\g<0>0", repr(value))
        case datetime() | date() | time():
            return value.isoformat()
        case _:
            return str(value)


def _parquet_to_csv(file: IO[bytes], out: IO[bytes]) -> IO[bytes]:
    # It takes a second to import.
    import polars as pl

    most = _FREE_BYTES + LARGEST_EXPANSION * file.seek(0, io.SEEK_END)
    try:
        table = pl.scan_parquet(_from_start(file))
        _check_parquet(table.collect_schema(), table.select(pl.len()).collect().item())
        numbers = pl.selectors.float() | pl.selectors.decimal()
        table = table.with_columns(numbers.cast(pl.String).str.replace(_OPEN.pattern, "${0}0"))
        table.sink_csv(cast("IO[bytes]", _BoundedFile(out, most=lambda: most)), null_value="")
    except TableError:
        raise
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        if _TOO_MUCH in str(error):
            raise TableError(_TOO_MUCH) from error
        raise TableError(gettext_noop("The Parquet file is damaged or breaks off. Write and send it again.")) from error
    return out


def _check_parquet(schema: "pl.Schema", row_count: int) -> None:
    if len(schema) > MOST_COLUMNS:
        raise TableError(TOO_MANY_COLUMNS, most=MOST_COLUMNS)
    if row_count > MOST_ROWS:
        raise TableError(TOO_LARGE)
    for name, kind in schema.items():
        if kind.is_nested() or str(kind) in ("Binary", "Object"):
            message = gettext_noop("The column %(name)s has values that are no single numbers or texts.")
            raise TableError(message, name=name[:60])


def _json_rows(file: IO[bytes], origin: Origin, known_count: KnownCount) -> Iterator[list[str]]:
    """Yield a header and the rows of JSON lines, or of a JSON document that is a table."""
    file.seek(0)
    start = len(codecs.BOM_UTF8) if file.read(3) == codecs.BOM_UTF8 else 0
    file.seek(start)
    first, second = file.readline(LONGEST_ROW + 1), file.readline(LONGEST_ROW + 1)
    file.seek(start)
    try:
        record = _decode(first)
    except (ValueError, RecursionError):
        record = None
    # A whole document may stand on one line.
    is_flat = isinstance(record, dict) and not any(isinstance(each, (dict, list)) for each in record.values())
    if is_flat or (isinstance(record, dict) and second.lstrip().startswith(b"{")):
        origin.format = "JSON lines"
        return _rows_of(partial(_json_lines, file, start))
    origin.format = "JSON"
    records = _records_of(file, known_count)
    return _rows_of(lambda: enumerate(records, start=1))


def _decode(data: bytes) -> object:
    """Decode JSON, NaN too, which Python's own writer writes; raises ValueError, RecursionError, TableError."""
    with suppress(msgspec.DecodeError):
        value = msgspec.json.decode(data)
        # It keeps the last of members with the same name.
        if isinstance(value, dict) and len(_MEMBER.findall(data)) == len(value):
            return value
    return json.loads(data, object_pairs_hook=_members)


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object of its members; raises TableError for two with one name."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise TableError(_TWICE)
    return members


def _json_lines(file: IO[bytes], start: int) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Yield the objects of a file of JSON lines with their line numbers."""
    file.seek(start)
    for number, line in enumerate(iter(partial(file.readline, LONGEST_ROW + 1), b""), start=1):
        if len(line) > LONGEST_ROW:
            raise TableError(_LONG_ROW, row=str(number))
        if not line.strip():
            continue
        try:
            record = _decode(line)
        except TableError:
            raise
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise TableError(gettext_noop("Line %(line)s is no JSON object."), line=str(number))
        yield number, record


def _records_of(file: IO[bytes], known_count: KnownCount) -> list[Mapping[str, object]]:
    """Read the table of a JSON document: of all that may be one, that with the most known headings."""
    data = file.read(LARGEST_DOCUMENT + 1)
    if len(data) > LARGEST_DOCUMENT:
        raise TableError(gettext_noop("A JSON document of more than 32 MB is not read. Send JSON lines."))
    try:
        document = _decode(data)
    except TableError:
        raise
    except (ValueError, RecursionError) as error:
        raise TableError(gettext_noop("The file begins like JSON and is damaged or breaks off.")) from error
    tables = [(known_count(table[0]) if table else 0, table) for table in _tables(document, _DEPTH)]
    if not tables:
        message = gettext_noop(
            "This is JSON, but no table: a table is a list of objects, or one object on each line. A single row is "
            "sent to POST /api/v1/predictions/."
        )
        raise TableError(message)
    count, table = max(tables, key=itemgetter(0))
    if count and [other for other, _table in tables].count(count) > 1:
        raise TableError(gettext_noop("The JSON document has several tables. Send one of them alone."))
    return table


def _tables(value: object, depth: int) -> Iterator[list[Mapping[str, object]]]:
    """Yield what may be a table in a JSON document: lists of objects or of lists, and all that pandas writes."""
    parts: list[object] = []
    if isinstance(value, list) and all(isinstance(row, dict) for row in value):
        yield value
        # Records may hold their cells in one member: “fields”, “properties”.
        names = [name for name, cell in value[0].items() if isinstance(cell, dict)] if value else []
        parts = [[row.get(name) for row in value] for name in names]
    elif isinstance(value, list) and isinstance(value[0], list) and all(isinstance(name, str) for name in value[0]):
        yield _with_names(*value)
    elif isinstance(value, dict):
        yield from _tables_of_object(value)
        # Of a table by columns and lines, the first line is no header.
        parts = [part for part in value.values() if "columns" not in value or not _are_lines(part)]
    for part in parts if depth else ():
        yield from _tables(part, depth - 1)


def _are_lines(value: object) -> TypeGuard[list[list[object]]]:
    return isinstance(value, list) and all(isinstance(line, list) for line in value)


def _tables_of_object(document: Mapping[str, object]) -> Iterator[list[Mapping[str, object]]]:
    """Yield what a document is by rows and by columns, where its members are all objects or all lists of values."""
    names, lines = document.get("columns"), document.get("data", document.get("rows"))
    by_key = {name: column for name, column in document.items() if isinstance(column, dict)}
    lists = {
        name: column for name, column in document.items()
        if isinstance(column, list) and not isinstance((column or [0])[0], dict | list)
    }  # fmt: skip
    if isinstance(names, list) and _are_lines(lines):
        yield _with_names(names, *lines)
    elif document and len(by_key) == len(document):
        records: dict[str, dict[str, object]] = {}
        for name, column in by_key.items():
            for key, cell in column.items():
                records.setdefault(key, {})[name] = cell
        yield [*records.values()]
        yield [*by_key.values()]
    elif document and len(lists) == len(document):
        lengths = set(map(len, lists.values()))
        if len(lengths) > 1:
            raise TableError(_UNEVEN, row=str(min(lengths) + 1))
        yield _with_names(list(document), *zip(*lists.values(), strict=True))


_TWICE = gettext_noop("The JSON document has a column twice. Remove one.")
_UNEVEN = gettext_noop("Row %(row)s of the JSON document has another number of cells than the header.")


def _with_names(names: list[object], *lines: Sequence[object]) -> list[Mapping[str, object]]:
    """Make records of lines of cells; raises TableError where one has more or fewer cells than there are names."""
    if len(set(map(str, names))) < len(names):
        raise TableError(_TWICE)
    for number, line in enumerate(lines, start=1):
        if not isinstance(line, list | tuple) or len(line) != len(names):
            raise TableError(_UNEVEN, row=str(number))
    return [dict(zip(map(str, names), line, strict=True)) for line in lines]


def _rows_of(records: Callable[[], Iterable[tuple[int, Mapping[str, object]]]]) -> Iterator[list[str]]:
    """Yield the header, the names of all numbered records, and each record's cells."""
    header: dict[str, None] = {}
    for _number, record in records():
        header.update(dict.fromkeys(record))
        if len(header) > MOST_COLUMNS:
            raise TableError(TOO_MANY_COLUMNS, most=MOST_COLUMNS)
    if not header:
        raise TableError(gettext_noop("The file is empty."))
    yield list(header)
    for number, record in records():
        for name, value in record.items():
            if isinstance(value, (dict, list)):
                message = gettext_noop("Row %(row)s: %(name)s is no single number or text.")
                raise TableError(message, row=str(number), name=name[:60])
        yield [_text(record.get(name)) for name in header]
