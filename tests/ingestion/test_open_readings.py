"""What a table may mean in two ways: what its other cells leave is read, else the row or the table is rejected."""

import io
import json
from collections.abc import Callable
from typing import Any

import openpyxl  # type: ignore[import-untyped]
import polars as pl
import pytest

from ingestion import headings, reading, table, table_validation
from ingestion.formats import TableError
from ingestion.passenger import RULES
from ingestion.schema import FIELDS, KNOWN_HEADINGS
from ingestion.spellings import Spellings

EXPECTED = ("age", "fare")
HEADINGS = ["pclass", "sex", "age", "fare"]


def read_fares(content: bytes) -> tuple[list[float | None], reading.Reading]:
    """The fares that are read of a table's rows, None for a rejected row; and how it was read."""
    read: list[float | None] = []
    with table.open_table(io.BytesIO(content), known=FIELDS) as opened:
        report = reading.of_table(opened, headings.match(opened.header, FIELDS), FIELDS)
        spellings = Spellings(decimals=report.decimals)
        for chunk in opened.chunks(report.layout):
            checked = table_validation.check_columns(FIELDS, chunk.cells, rules=RULES, spellings=spellings)
            by_row = dict(checked.frame.select(table_validation.ROW, "fare").iter_rows())
            read += [by_row.get(row) for row in range(chunk.row_count)]
    report.add_spellings(spellings)
    return read, report


def workbook(*rows: list[Any]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def parquet(**columns: list[Any]) -> bytes:
    out = io.BytesIO()
    pl.DataFrame(columns).write_parquet(out)
    return out.getvalue()


#: Tables, and the fares that are read.
FARES: dict[str, tuple[Callable[[], bytes], list[float | None]]] = {
    "a number above a text in JSON": (
        lambda: json.dumps([HEADINGS, [3, "male", 22, 7.925], [3, "male", 22, "8,05"]]).encode(), [7.925, 8.05]
    ),
    "a number above a text in Excel": (
        lambda: workbook(HEADINGS, [3, "male", "22,5", 7.925], [3, "male", 22, "8,05"]), [7.925, 8.05]
    ),
    "numbers beside texts in Parquet": (
        lambda: parquet(pclass=[3, 3], sex=["male"] * 2, age=["22,5", "8"], fare=[7.925, 8.0]), [7.925, 8]
    ),
    "thousands beside decimal commas": (lambda: b"Pclass;Sex;Age;Fare\n1;male;38,5;1.071\n3;male;22;8\n", [1071, 8]),
    "open beside both marks": (
        lambda: b"Pclass;Sex;Age;Fare;SibSp\n1;male;38,5;1.071;1\n3;male;22;8;1.0\n", [None, 8]
    ),
    "open within both marks": (
        lambda: b"Pclass;Sex;Fare\n1;male;1.071\n1;male;1,071\n1;male;8,5\n1;male;8.25\n", [None, None, 8.5, 8.25]
    ),
    "three decimals alone": (lambda: b"Pclass,Sex,Fare\n1,male,7.925\n3,male,8\n", [7.925, 8]),
    "English thousands": (lambda: b'Pclass,Sex,Fare\n1,male,"1,071"\n3,male,8.05\n', [1071, 8.05]),
    "both marks": (lambda: b"Pclass;Sex;Fare\n1;male;7,25\n3;male;8.05\n", [7.25, 8.05]),
}  # fmt: skip


@pytest.mark.parametrize(("content", "read"), FARES.values(), ids=FARES)
def test_a_number_is_read_as_other_cells_say(content: Callable[[], bytes], read: list[float | None]) -> None:
    assert read_fares(content())[0] == read


def test_a_number_with_one_reading_is_read_beyond_the_first_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "BLOCK_BYTES", 30)

    read, _report = read_fares(b"Pclass;Sex;Fare\n1;male;8\n1;male;8\n1;male;8\n3;male;71,28\n3;male;0,925\n")

    assert read == [8, 8, 8, 71.28, 0.925]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Pclass,Sex,Fare\n1,female,$350\n3,male,35 EUR\n3,male,£7.25\n", "EUR, GBP, USD"),
        ("Pclass,Sex,Fare ($)\n1,female,£350\n", "GBP, USD"),
        ("Pclass,Sex,Fare (£)\n1,female,350 GBP\n", ""),
    ],
)  # fmt: skip
def test_amounts_in_different_currencies_are_told(text: str, names: str) -> None:
    sentence = f"fare has amounts in different currencies, read as if they were one: {names}."
    assert (sentence in [str(each) for each in read_fares(text.encode())[1].warnings]) == bool(names)


#: Headers, the headings that a person gives, and the columns that are read.
HEADERS: dict[str, tuple[str, dict[str, str], dict[str, int]]] = {
    "another script": ("Pclass,Sex,Возраст,Стоимость", {"age": "Возраст", "fare": "стоимость"}, {"age": 2, "fare": 3}),
    "signs alone": ("Pclass,Sex,Age,Fare (£),Fare ($)", {"fare": "Fare (£)"}, {"age": 2, "fare": 3}),
    "a heading of another field": ("Pclass,Sex,Age,Fare", {"age": "Fare", "fare": "Age"}, {"age": 3, "fare": 2}),
    "combined letters": ("Pclass,Sex,A\u0301ge,Fare", {"age": "Áge"}, {"age": 2, "fare": 3}),
    "a name without letters": ("Pclass,Sex,£,Age,", {"fare": "£"}, {"age": 3, "fare": 2}),
    "names of rows": ("__index_level_0__,Pclass,Sex,#,Unnamed: 0,", {}, {}),
    "results": ("Pclass,Sex,input_line,error,line,prediction_id,predicted_survived", {}, {}),
}


@pytest.mark.parametrize(("header", "given", "columns"), HEADERS.values(), ids=HEADERS)
def test_a_given_heading_is_matched_as_it_stands(header: str, given: dict[str, str], columns: dict[str, int]) -> None:
    found = headings.match(header.split(","), FIELDS, given=given, ignored=KNOWN_HEADINGS)
    headings.check(found, required=(), expected=EXPECTED)

    assert {name: index for name, index in found.columns.items() if name in EXPECTED} == columns


@pytest.mark.parametrize(
    ("header", "given", "sentence"),
    [
        ("Pclass,Sex,Возраст,Fare", {}, "no column age, and these headings were not read: “Возраст”"),
        ("Pclass,Sex,年齢,Fare", {}, "no column age, and these headings were not read: “年齢”"),
        ("Pclass,Sex,Стоимость", {"age": "Возраст"}, "no heading “Возраст”"),
        ("Pclass,Sex,,Fare", {"age": "%"}, "no heading “%”"),
        ("Pclass,Sex,Age,Fare", {"age": "Age", "fare": "Age"}, "“Age” cannot be that of fare: another column has it"),
        ("Pclass,Sex,Input Age,Fare", {}, "no column age, and these headings were not read: “Input Age”"),
    ],
)  # fmt: skip
def test_a_heading_that_is_not_known_is_named(header: str, given: dict[str, str], sentence: str) -> None:
    with pytest.raises(TableError, match=sentence):
        headings.check(
            headings.match(header.split(","), FIELDS, given=given, ignored=KNOWN_HEADINGS),
            required=(), expected=EXPECTED,
        )  # fmt: skip
