"""Mutated tables at the reader: rows or a sentence each time, never an exception, and never a row that is not there."""

import csv
import gzip
import io
import random
import re
from pathlib import Path

import pytest
from django.conf import settings

from ingestion import headings, table_validation
from ingestion.formats import TableError
from ingestion.passenger import RULES
from ingestion.reading import of_table
from ingestion.schema import FIELDS
from ingestion.spellings import Spellings
from ingestion.table import open_table

CASES = Path(settings.BASE_DIR) / "tests" / "cases"
FILES = [path.read_bytes() for path in sorted(CASES.iterdir())]
CORPUS = [*FILES, *(gzip.compress(content) for content in FILES[:3])]
PIECES = [
    b'"',
    b'""',
    b",",
    b";",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\xc3",
    b"NA",
    b"9" * 30,
    b" ",
    b"\t",
    b"PK\x03\x04",
    b"[{",
]


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The file with some bytes changed, cut out, repeated or put in."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        end = min(at + chance.randint(1, 8), len(data))
        match chance.randrange(4):
            case 0:
                data[at:end] = chance.randbytes(end - at)
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end] * chance.randint(1, 3)
            case _:
                data[at:at] = chance.choice(PIECES)
    return bytes(data)


def rows_of(content: bytes) -> tuple[int, list[str], list[list[str]]]:
    """The lines above the header, the header and the rows of a table as they are read, checked too."""
    with open_table(io.BytesIO(content), known=FIELDS) as table:
        found = headings.match(table.header, FIELDS)
        reading = of_table(table, found, FIELDS)
        assert all(map(str, reading.notes))
        rows: list[list[str]] = []
        for chunk in table.chunks(reading.layout):
            table_validation.check_columns(
                FIELDS, chunk.cells, rules=RULES, spellings=Spellings(decimals=reading.decimals)
            )
            lines = dict(zip(chunk.lines.tolist(), map(list, chunk.table.rows()), strict=True)) | chunk.ragged
            rows += [lines[line] for line in sorted(lines)]
        return len(table.origin.above_header), table.header, rows


def rows_by_csv(content: bytes) -> list[list[str]] | None:
    """The same by Python's csv module, of a plain table; None where it is not plain."""
    try:
        text = content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError:
        return None
    if re.search(r'[\0\t;|\r]|" | "|sep=|^\s*[\[{<@]', text) or text.startswith(("PK", "\x1f")):
        return None
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error:
        return None
    # Lines of separators alone are blank lines.
    return [*rows[:1], *filter(any, rows[1:])]


def plain(rows: list[list[str]], width: int) -> list[list[str]]:
    """The rows without blanks about their cells, and without blank cells beyond the last heading."""
    return [[cell.strip(" ") for cell in (row if any(row[width:]) else row[:width])] for row in rows if any(row)]


@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=pytest.mark.long)])
def test_a_mutated_table_is_read_as_it_is_or_rejected_in_a_sentence(count: int) -> None:
    read_count = compared_count = 0
    sentences = set()
    for seed in range(count):
        chance = random.Random(seed)
        content = mutated(chance.choice(CORPUS), chance)
        try:
            above_count, header, rows = rows_of(content)
        except TableError as error:
            sentences.add(str(error))
            continue
        read_count += 1
        expected = rows_by_csv(content)
        if expected is not None:
            compared_count += 1
            expected = expected[above_count:]
            width = len(header)
            assert header == [cell.strip() for cell in expected[0]], seed
            assert plain(rows, width) == plain(expected[1:], width), seed
    assert [sentence for sentence in sentences if not sentence.endswith(".")] == []
    assert read_count > count / 4
    assert compared_count > count / 20
