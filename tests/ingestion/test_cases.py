"""Tables as people have them, by ingest and by scoring: the plain table's values, or a word on what was not read."""

import csv
import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from html import unescape
from pathlib import Path
from typing import Any

import openpyxl  # type: ignore[import-untyped]
import pandas as pd
import polars as pl
import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from rest_framework.test import APIClient

from core.errors import TitanicError
from core.jobs import State
from ingestion import services as ingestion_services
from ingestion.models import Dataset, Passenger
from ingestion.schema import FIELD_NAMES, FIELDS
from predictions import outcomes, scoring, services
from predictions.models import ScoringJob
from training.models import ModelVersion

CASES = Path(settings.BASE_DIR) / "tests" / "cases"
JAN: dict[str, Any] = {
    "pclass": 3, "sex": "male", "age": 22.0, "sibsp": 1, "parch": 0, "fare": 7.25, "embarked": "S", "cabin": None,
    "name": "Doe, Mr. Jan", "title": None, "ticket": "A1",
}  # fmt: skip
IDA: dict[str, Any] = {
    "pclass": 1, "sex": "female", "age": 38.0, "sibsp": 1, "parch": 0, "fare": 71.28, "embarked": "C", "cabin": "C85",
    "name": "Roe, Mrs. Ida", "title": None, "ticket": "B2",
}  # fmt: skip
EVA: dict[str, Any] = {
    "pclass": 3, "sex": "female", "age": 26.0, "sibsp": 0, "parch": 0, "fare": 7.92, "embarked": "S", "cabin": None,
    "name": "Poe, Miss. Eva", "title": None, "ticket": "C3",
}  # fmt: skip
UNKNOWN = {field.name: field.default for field in FIELDS}
PLAIN = [JAN, IDA, EVA]


def only(person: Mapping[str, Any], *names: str, **others: Any) -> dict[str, Any]:
    """A person of whom a table knows these fields alone."""
    return {**UNKNOWN, **{name: person[name] for name in names}, **others}


SEEN = ("pclass", "sex", "age", "sibsp", "parch", "fare", "embarked")
NAMES = ("pclass", "sex", "age", "sibsp", "parch", "fare")
#: Of each file the passengers that it has, plainly written, and labels; None where the file has none.
CASE_ROWS: dict[str, tuple[list[dict[str, Any]], list[bool] | None]] = {
    "00-plain.csv": (PLAIN, [False, True, True]),
    "01-cabin-NA.csv": (PLAIN, [False, True, True]),
    "02-ticket-NA.csv": ([JAN, IDA, {**EVA, "ticket": None}], [False, True, True]),
    "04-cs109-headings.csv": (
        [only(JAN, *NAMES, name="Mr. Jan Doe"), only(IDA, *NAMES, name="Mrs. Ida Roe")],
        [False, True],
    ),
    "05-misspelt-headings.csv": (
        [only(IDA, "pclass", "sex", "age", "fare", "cabin"), only(JAN, "pclass", "sex", "age", "fare", "cabin")],
        None,
    ),
    "06-name-without-comma.csv": (
        [
            only(IDA, "pclass", "sex", name="Mrs. Ida Roe", age=24.0),
            only(JAN, "pclass", "sex", name="Mr. Jan Doe", age=9.0),
        ],
        None,
    ),
    "07-semicolon-decimal-comma-cp1252.csv": ([{**JAN, "name": "Müller, Mr. Jan", "age": 22.5}], [False]),
    "08-excel-unicode-text.txt": (
        # Whoever wrote it has tabs in the place of the names' commas too.
        [{**person, "name": person["name"].replace(",", "\t")} for person in PLAIN],
        [False, True, True],
    ),
    "10-sep-line.csv": (PLAIN, [False, True, True]),
    "11-space-after-comma.csv": (PLAIN, [False, True, True]),
    "12-yes-no-label.csv": (PLAIN, [False, True, True]),
    "14-class-1st.csv": (PLAIN, [False, True, True]),
    "15-port-words.csv": (PLAIN, [False, True, True]),
    "17-seaborn.csv": ([only(JAN, *SEEN), only(IDA, *SEEN)], [False, True]),
    "18-test-without-label.csv": (PLAIN, None),
    "20-excel.xlsx": (PLAIN, [False, True, True]),
    "22-records.json": ([only(JAN, "pclass", "sex"), only(IDA, "pclass", "sex", "age")], None),
}
PARAMETERS = pytest.mark.parametrize(
    ("content", "people", "labels"),
    [pytest.param((CASES / name).read_bytes(), *rows, id=name) for name, rows in CASE_ROWS.items()],
)


@PARAMETERS
def test_a_table_is_loaded_as_the_plain_one_is(
    load: Callable[..., Dataset], content: bytes, people: list[dict[str, Any]], labels: list[bool] | None
) -> None:
    dataset = load(content, has_label=labels is not None)

    passengers = list(Passenger.objects.of(dataset))
    assert (dataset.state, dataset.problem_count) == (State.SUCCEEDED, 0)
    assert [{name: getattr(each, name) for name in FIELD_NAMES} for each in passengers] == people
    assert [each.survived for each in passengers] == [
        None if labels is None else labels[number] for number in range(len(people))
    ]


@PARAMETERS
def test_a_table_is_answered_as_the_plain_one_is(
    champion: ModelVersion, content: bytes, people: list[dict[str, Any]], labels: list[bool] | None
) -> None:
    job = services.queue_scoring(file=SimpleUploadedFile("table", content), by=None)

    scoring.score(job)

    assert (job.state, job.problem_count) == (State.SUCCEEDED, 0)
    assert probabilities(job) == [answer.probability for answer in services.predict(services.parse_batch(people))]


def probabilities(job: ScoringJob) -> list[float]:
    text = b"".join(scoring.results(job)).decode()
    return [float(row["predicted_probability"]) for row in csv.DictReader(io.StringIO(text, newline=""))]


def zipped(**files: bytes) -> bytes:
    """A zip archive of files; two underscores in a name are its full stop."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "."), content)
    return packed.getvalue()


def written_by_r(separator: str, *, quote: str = '"') -> bytes:
    """The plain table as R's write.table writes it: each row begins with its name, which has no heading."""
    lines = [separator.join(f"{quote}{heading}{quote}" for heading in ROWS[0])]
    for number, row in enumerate(ROWS[1:], start=1):
        cells = [cell if cell.replace(".", "").isdigit() else f"{quote}{cell}{quote}" if cell else "NA" for cell in row]
        lines.append(separator.join([f"{quote}{number}{quote}", *cells]))
    return "\n".join(lines).encode() + b"\n"


def written_by_pandas(how: str) -> bytes:
    """The plain table as pandas writes it by default."""
    table = pd.read_csv(io.BytesIO(PLAIN_TEXT))
    out = io.BytesIO()
    match how:
        case "excel":
            table.to_excel(out)
        case "parquet":
            # pandas needs pyarrow for it, which we have not.
            pl.from_dicts(table.where(table.notna(), None).to_dict("records")).write_parquet(out)
        case "csv":
            table.to_csv(out)
        case "json":
            return table.to_json().encode()
        case "lines":
            return table.to_json(orient="records", lines=True).encode()
    return out.getvalue()


PLAIN_TEXT = (CASES / "00-plain.csv").read_bytes()
LINES = PLAIN_TEXT.decode().splitlines()
ROWS: list[list[Any]] = list(csv.reader(LINES))
RECORDS = [{name: cell or None for name, cell in zip(ROWS[0], row, strict=True)} for row in ROWS[1:]]


def with_quotes(left: str, right: str) -> bytes:
    """The plain table with all its cells in other quotes."""
    return "\r\n".join(",".join(f"{left}{cell}{right}" for cell in row) for row in ROWS).encode()


def with_label(no: str, yes: str) -> bytes:
    """The plain table with other words for the label."""
    labels = {"0": no, "1": yes}
    return "\n".join([LINES[0], *(f"{line[:2]}{labels[line[2]]}{line[3:]}" for line in LINES[1:])]).encode()


#: The same people in further formats and dialects.
SAME_PEOPLE: dict[str, Callable[[], bytes]] = {
    "gzip": lambda: gzip.compress(PLAIN_TEXT),
    "zip beside a note": lambda: zipped(people__csv=PLAIN_TEXT, README=b"who is who"),
    "gzip of a workbook": lambda: gzip.compress((CASES / "20-excel.xlsx").read_bytes()),
    "pandas to_excel": lambda: written_by_pandas("excel"),
    "Parquet": lambda: written_by_pandas("parquet"),
    "pandas to_csv with the index": lambda: written_by_pandas("csv"),
    "pandas to_json": lambda: written_by_pandas("json"),
    "JSON lines": lambda: written_by_pandas("lines"),
    "JSON with a byte order mark": lambda: b"\xef\xbb\xbf" + written_by_pandas("lines"),
    "trailing commas": lambda: "\n".join([LINES[0], *(f"{line},," for line in LINES[1:])]).encode(),
    "vertical bars": lambda: PLAIN_TEXT.replace(b", ", b"~").replace(b",", b"|").replace(b"~", b", "),
    "UTF-16 without a mark": lambda: PLAIN_TEXT.decode().encode("utf-16-le"),
    "blanks everywhere": lambda: PLAIN_TEXT.replace(b"~", b"").replace(b',"', b' , "').replace(b'",', b'" , '),
    "pounds, floats, capitals": lambda: (
        PLAIN_TEXT.replace(b",7.25,", ",£7.25,".encode()).replace(b",22,1,0,", b",22.0,1.0,0.0,")
        .replace(b"female", b"F").replace(b"male", b"Male").replace(b",,", b",#N/A,")
    ),
    "R with commas": lambda: written_by_r(","),
    "R with blanks": lambda: written_by_r(" "),
    "R with tabs, unquoted": lambda: written_by_r("\t", quote=""),
    "ja and nein": lambda: with_label("nein", "Ja"),
    "sí and no": lambda: with_label("no", "sí"),
    "oui and non": lambda: with_label("non", "oui"),
    "m and w": lambda: PLAIN_TEXT.replace(b"female", b"w").replace(b"male", b"m"),
    "ports with countries": lambda: (
        PLAIN_TEXT.replace(b",S\n", b',"Southampton, England"\n').replace(b",C\n", b",C (Cherbourg)\n")
    ),
    "ages with units, or about": lambda: PLAIN_TEXT.replace(b",26,", b",c. 26,").replace(b",22,", b",22 years,"),
    "headings with full stops": lambda: PLAIN_TEXT.replace(b"SibSp", b"sib.sp").replace(b"Parch", b"Par Ch"),
    "hats": lambda: PLAIN_TEXT.replace(b", ", b"~").replace(b",", b"^").replace(b"~", b", "),
    "single quotes": lambda: with_quotes("'", "'"),
    "curly quotes": lambda: with_quotes("“", "”"),
    "German quotes": lambda: with_quotes("„", "“"),
    "Ctrl-Z at the end": lambda: PLAIN_TEXT + b"\x1a",
    "JSON by rows": lambda: json.dumps({f"row {number}": row for number, row in enumerate(RECORDS)}).encode(),
    "JSON by columns and rows": lambda: json.dumps({"columns": ROWS[0], "index": [0, 1, 2], "data": ROWS[1:]}).encode(),
    "JSON stacked": lambda: json.dumps({"columns": ROWS[0], "rows": ROWS[1:]}).encode(),
    "JSON rows below columns": lambda: json.dumps({"columns": [{"data": "Age"}], "rows": RECORDS}).encode(),
    "JSON as lists of cells": lambda: json.dumps({"range": "A1:L4", "values": ROWS}).encode(),
    "OpenDataSoft": lambda: json.dumps([{"recordid": "a", "fields": row} for row in RECORDS]).encode(),
    "OpenDataSoft with a head": lambda: (
        json.dumps({"nhits": 3, "records": [{"record": {"id": "a", "fields": row}} for row in RECORDS]}).encode()
    ),
    "GeoJSON": lambda: json.dumps({"features": [{"geometry": None, "properties": row} for row in RECORDS]}).encode(),
}  # fmt: skip


def workbook(**sheets: list[list[Any]]) -> bytes:
    """A workbook of sheets with these rows."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def rewritten(content: bytes, changes: Mapping[bytes, bytes]) -> bytes:
    """A workbook with patterns of its sheet's XML replaced."""
    archive = zipfile.ZipFile(io.BytesIO(content))
    files = {name: archive.read(name) for name in archive.namelist()}
    for pattern, text in changes.items():
        files["xl/worksheets/sheet1.xml"] = re.sub(pattern, text, files["xl/worksheets/sheet1.xml"])
    return zipped(**files)


def with_hidden(content: bytes, title: str) -> bytes:
    """A workbook with one of its sheets hidden."""
    book = openpyxl.load_workbook(io.BytesIO(content))
    book[title].sheet_state = "hidden"
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


#: Tables with a title or notes above the header, or on a sheet of their own.
BESIDE_OTHERS: dict[str, tuple[Callable[[], bytes], str]] = {
    "title in CSV": (lambda: b"Passengers\n\n" + PLAIN_TEXT, "Above the header, not read: “Passengers”."),
    "note and semicolons": (
        lambda: b"# from 1912, of 3\r\n" + PLAIN_TEXT.replace(b", ", b"~").replace(b",", b";").replace(b"~", b", "),
        "Above the header, not read: “# from 1912, of 3”.",
    ),
    "title in a workbook": (
        lambda: workbook(people=[["Passengers"], [], *ROWS]), "Above the header, not read: “Passengers”."
    ),
    "second sheet": (
        lambda: workbook(about=[["Who made it"], ["Roe"]], people=ROWS), "These sheets were not read: “about”."
    ),
    "hidden sheet": (
        lambda: with_hidden(workbook(old=[ROWS[0], ROWS[3]], new=ROWS), "old"), "These sheets were not read: “old”."
    ),
    "two cells above the header, blank last cells": (
        lambda: workbook(people=[["Passengers", 2026], *([*row[:10], row[11], row[10]] for row in ROWS)]),
        "Above the header, not read: “Passengers,2026”.",
    ),
    "two tables": (lambda: workbook(people=ROWS, more=ROWS), "These sheets were not read: “more”."),
}  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), BESIDE_OTHERS.values(), ids=BESIDE_OTHERS)
def test_a_table_is_found_below_a_title_and_on_another_sheet(
    load: Callable[..., Dataset], content: Callable[[], bytes], sentence: str
) -> None:
    dataset = load(content())

    people = [{name: getattr(each, name) for name in FIELD_NAMES} for each in Passenger.objects.of(dataset)]
    assert people == PLAIN
    reading = dataset.reading_report
    assert reading is not None
    assert sentence in [str(each) for each in (*reading.notes, *reading.warnings)]


def test_lines_are_counted_with_those_above_the_header(load: Callable[..., Dataset]) -> None:
    dataset = load(b"Passengers\n\n" + PLAIN_TEXT.replace(b",22,", b",abc,"), largest_problem_share=0.5)

    reading = dataset.reading_report
    assert reading is not None
    assert [each.examples[0].line for each in reading.rejected] == [4]


@pytest.mark.parametrize("above", [b"Id,Klasse,Wer,Alter,Preis,Hafen\n1,3,male,22,7.25,S\n", b"Passengers,of,"])
def test_part_of_a_table_is_no_title(load: Callable[..., Dataset], above: bytes) -> None:
    with pytest.raises(TitanicError, match="has no column"):
        load(above + PLAIN_TEXT[len("PassengerId,Survived,P") :].replace(b"class", b"pclass", 1))


def test_a_heading_of_two_lines_is_a_heading(load: Callable[..., Dataset]) -> None:
    text = b'"Passenger\nClass",Sex,Age,Survived\n1,female,38,1\n'

    assert [each.pclass for each in Passenger.objects.of(load(text))] == [1]


def test_a_formula_without_a_value_is_not_read_as_unknown(load: Callable[..., Dataset]) -> None:
    rows = [list(row) for row in ROWS]
    rows[1][5] = "=20+2"

    content = workbook(people=rows)
    prefixed = rewritten(content, {rb"<(/?)(?=[a-zA-Z])": rb"<\1x:", rb"\bxmlns=": b"xmlns:x="})

    for each in (content, prefixed, rewritten(content, {rb'(<c )r="[A-Z]+\d+"': rb"\1"})):
        with pytest.raises(TitanicError, match="never calculated, the first in F2"):
            load(each)


def test_merged_cells_are_told(load: Callable[..., Dataset]) -> None:
    book = openpyxl.load_workbook(io.BytesIO(workbook(people=[["Passengers"], *ROWS])))
    book.active.merge_cells("A1:L1")
    book.active.merge_cells("I2:I4")
    book.active.merge_cells("L3:L5")
    out = io.BytesIO()
    book.save(out)

    reading = load(out.getvalue()).reading_report

    assert reading is not None
    assert "Merged cells have a value in the first row alone, those below were read as blank: I2:I4, L3:L5." in [
        str(each) for each in reading.warnings
    ]


def test_lines_of_separators_alone_are_blank_lines(load: Callable[..., Dataset]) -> None:
    blank = b"," * (len(ROWS[0]) - 1)
    text = PLAIN_TEXT.replace(b"\n2,", b"\n" + blank + b"\n2,") + blank + b"\r\n" + blank + b",,\n"

    dataset = load(text)

    assert (dataset.row_count, dataset.problem_count) == (3, 0)
    assert [each.line_number for each in Passenger.objects.of(dataset)] == [2, 4, 5]


@pytest.mark.parametrize("member", ["instances", "data", "records"])
def test_rows_within_a_json_document_are_a_table(load: Callable[..., Dataset], member: str) -> None:
    dataset = load(json.dumps({"schema": {"fields": []}, member: RECORDS}).encode())

    people = [{name: getattr(each, name) for name in FIELD_NAMES} for each in Passenger.objects.of(dataset)]
    assert people == PLAIN


@pytest.mark.parametrize("content", SAME_PEOPLE.values(), ids=SAME_PEOPLE)
def test_the_same_people_in_another_format_are_the_same(
    load: Callable[..., Dataset], content: Callable[[], bytes]
) -> None:
    dataset = load(content())

    passengers = list(Passenger.objects.of(dataset))
    assert [{name: getattr(each, name) for name in FIELD_NAMES} for each in passengers] == PLAIN
    assert [each.survived for each in passengers] == [False, True, True]


def test_the_same_people_in_another_format_are_answered_alike(champion: ModelVersion) -> None:
    expected = [answer.probability for answer in services.predict(services.parse_batch(PLAIN))]
    for name in ("R with commas", "ages with units, or about", "single quotes", "JSON by rows", "OpenDataSoft"):
        job = services.queue_scoring(file=SimpleUploadedFile("table", SAME_PEOPLE[name]()), by=None)

        scoring.score(job)

        assert (job.problem_count, probabilities(job)) == (0, expected), name


#: What a table's reader says of what it did, and did not.
TOLD: dict[str, tuple[Callable[[], bytes], str]] = {
    "names of rows": (
        lambda: written_by_r(","), "The first cell of each row has no heading: it was taken for the row’s name"
    ),
    "a second column": (
        lambda: PLAIN_TEXT.replace(b"Embarked", b"Embarked,Gender").replace(b"S\n", b"S,male\n"),
        "“Gender” was not read: it is a second column of sex, beside “Sex”.",
    ),
    "quotes": (lambda: with_quotes("“", "”"), "Cells were read without the quotes “” about them."),
    "a remark": (
        lambda: PLAIN_TEXT.replace(b",S\n", b',"Southampton, England"\n'),
        "“Southampton, England” was read as S in embarked (cells: 2).",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), TOLD.values(), ids=TOLD)
def test_what_was_assumed_is_told(load: Callable[..., Dataset], content: Callable[[], bytes], sentence: str) -> None:
    reading = load(content(), largest_problem_share=1).reading_report

    assert reading is not None
    assert sentence in " ".join(str(each) for each in (*reading.notes, *reading.warnings))


#: What cannot be read, and what is said of it.
NOT_READ: dict[str, tuple[Callable[[], bytes], str]] = {
    "names with commas, unquoted": (lambda: PLAIN_TEXT.replace(b'"', b""), "3 of 3 rows were rejected"),
    "hombre and mujer": (lambda: PLAIN_TEXT.replace(b"female", b"M").replace(b"male", b"H"), "3 of 3 rows were rej"),
    "months": (lambda: PLAIN_TEXT.replace(b",22,", b",8 months,"), "1 of 3 rows were rejected"),
    "two ports": (lambda: PLAIN_TEXT.replace(b",C\n", b',"C, S"\n'), "1 of 3 rows were rejected"),
    "a misspelt label": (
        lambda: PLAIN_TEXT.replace(b"Survived", b"Survivd"), "no column survived. .* “Survivd” \\(survived\\?\\)"
    ),
    "JSON rows of other lengths": (
        lambda: json.dumps({"columns": ROWS[0], "data": [row[1:] for row in ROWS[1:]]}).encode(),
        "Row 1 of the JSON document has another number of cells",
    ),
    "a column twice in JSON": (
        lambda: json.dumps({"columns": ["Pclass", "Sex", "Sex"], "data": [[1, "male", "female"]]}).encode(),
        "The JSON document has a column twice.",
    ),
    "JSON columns of other lengths": (
        lambda: json.dumps({"pclass": [1, 2, 3], "sex": ["male"] * 3, "age": [4]}).encode(),
        "Row 2 of the JSON document has another number of cells",
    ),
    "two tables in JSON": (
        lambda: json.dumps({"train": RECORDS, "test": RECORDS}).encode(), "The JSON document has several tables."
    ),
    "decimal commas, unquoted": (
        lambda: b'Name,Survived,Fare,Sex,Pclass\n"Doe, Jan",0,7,25,male,3\n"Roe, Ida",1,71,28,female,1\n',
        "2 of 2 rows were rejected",
    ),
    "a heading that is missing": (
        lambda: b"PassengerId\tSurvived\tAge\tPclass\tSex\n1\t0\t22\t1\t3\tmale\n2\t1\t38\t1\t1\tfemale\n",
        "2 of 2 rows were rejected",
    ),
    "classes from 0": (
        lambda: b"Survived,Pclass,Sex\n" + b"1,1,female\n" * 40 + b"0,2,male\n" * 40 + b"1,0,female\n" * 5,
        "In pclass “0” is unknown and 3 never there",
    ),
    "a second table": (
        lambda: PLAIN_TEXT + b"\n" + LINES[0].replace("Age,SibSp", "SibSp,Age").encode() + b"\n" + PLAIN_TEXT,
        "Line 6 is a header of other columns",
    ),
    "a member twice in JSON": (
        lambda: b'[{"pclass":1,"pclass":3,"sex":"male","survived":0}]', "The JSON document has a column twice."
    ),
    "a member twice in JSON lines": (
        lambda: b'{"pclass":1,"sex":"male"}\n{"pclass":1,"pclass":3,"sex":"male"}\n', "has a column twice."
    ),
    "a line of a megabyte in single quotes": (
        lambda: with_quotes("'", "'") + b"\r\n" + b"x" * (2**20 + 1), "begins on line 5 .* longer than 1 MB"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), NOT_READ.values(), ids=NOT_READ)
def test_what_cannot_be_read_is_named(
    load: Callable[..., Dataset], content: Callable[[], bytes], sentence: str
) -> None:
    with pytest.raises(TitanicError, match=sentence):
        load(content())


def test_a_heading_that_is_not_known_fails_the_job_where_a_column_is_missing(champion: ModelVersion) -> None:
    text = b"Pclass,Sex,Agee,Fare,SibSp,Parch,Embarked,Cabin,Name\n1,female,38,71.28,1,0,C,C85,\n"
    job = services.queue_scoring(file=SimpleUploadedFile("table.csv", text), by=None)

    with pytest.raises(TitanicError, match="no column age, and these headings were not read: “Agee”"):
        scoring.score(job)

    given = services.queue_scoring(file=SimpleUploadedFile("t.csv", text), by=None, headings={"age": "agee"})
    ignored = services.queue_scoring(file=SimpleUploadedFile("t.csv", text), by=None, ignores_headings=True)
    for again in (given, ignored):
        scoring.score(again)
    assert probabilities(given) != probabilities(ignored)
    assert given.reading_report is not None
    assert given.reading_report.assumed == {}
    assert ignored.reading_report is not None
    assert ignored.reading_report.assumed == {"age": None}
    assert "Unknown headings: “Agee”." in [str(warning) for warning in ignored.reading_report.warnings]


def test_a_file_of_which_nothing_can_be_read_has_failed(champion: ModelVersion, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("Pclass,Sex\n9,male\nfirst-rate,female\n")
    err = io.StringIO()

    with pytest.raises(CommandError, match="2 of 2 rows were rejected"):
        call_command("score_file", str(path), str(tmp_path / "out.csv"), stderr=err)

    job = ScoringJob.objects.get()
    assert (job.state, job.row_count, job.problem_count) == (State.FAILED, 2, 2)
    assert "pclass: Must be one of 1, 2, 3. Rows: 2, for example line 2: “9”." in err.getvalue()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"Pclass,Sex,Age\n1,M,38\n2,M,30\n3,H,22\n", "In sex “H” is unknown and female never there"),
        (b"Pclass,Sex,Age\n1,female,38\n\nPclass,Sex,Fare\n3,male,7.25\n", "Line 4 is a header of other columns"),
    ],
)
def test_a_file_whose_other_rows_are_doubtful_has_failed(champion: ModelVersion, text: bytes, sentence: str) -> None:
    job = services.queue_scoring(file=SimpleUploadedFile("table.csv", text), by=None)

    with pytest.raises(TitanicError, match=sentence):
        scoring.score(job)


def test_fewer_rejected_rows_than_allowed_are_told_with_the_answers(client: Client, champion: ModelVersion) -> None:
    text = b"Pclass,Sex,Embarked\n3,male,S\n3,male,Xanten\n1,woman,NULL\n"
    job = services.queue_scoring(file=SimpleUploadedFile("table.csv", text), by=None)

    scoring.score(job)
    page = unescape(client.get(f"/scoring/{job.pk}/").content.decode())

    assert (job.state, job.row_count, job.problem_count) == (State.SUCCEEDED, 3, 1)
    for sentence in (
        "“woman” was read as female in sex (cells: 1).",
        "“NULL” means unknown in embarked (cells: 1).",
        "There is no column sibsp: 0 is assumed in all rows.",
        "embarked: Must be one of C, Q, S. Rows: 1, for example line 3: “Xanten”.",
    ):
        assert sentence in page


def test_a_table_without_the_label_and_with_its_own_words_is_loaded_by_the_api(api: APIClient) -> None:
    text = PLAIN_TEXT.replace(b",Survived,", b",Ignored,").replace(b"Age", b"Alter").replace(b",,", b",keine,")
    body = {
        "file": SimpleUploadedFile("test.csv", text), "has_label": "false", "headings": '{"age": "Alter"}',
        "markers": '["keine"]', "largest_problem_share": "0.2",
    }  # fmt: skip

    response = api.post("/api/v1/datasets/", body, format="multipart")
    assert response.status_code == 202, response.json()
    dataset = Dataset.objects.latest()
    ingestion_services.ingest(dataset)

    assert [(each.age, each.cabin) for each in Passenger.objects.of(dataset)] == [(22, None), (38, "C85"), (26, None)]
    reading = api.get(response["Location"]).json()["reading"]
    assert reading["unread"] == ["Ignored"]
    assert "“Alter” was read as age." in reading["notes"]
    assert "“keine” means unknown in cabin (cells: 2)." in reading["notes"]


@pytest.mark.parametrize(
    ("name", "value"), [("headings", '{"agee": "x"}'), ("headings", "[1]"), ("markers", "7"), ("has_label", "maybe")]
)
def test_wrong_options_of_a_table_are_400_with_the_field_named(api: APIClient, name: str, value: str) -> None:
    body = {"file": SimpleUploadedFile("table.csv", PLAIN_TEXT), name: value}

    response = api.post("/api/v1/datasets/", body, format="multipart")

    assert response.status_code == 400
    assert [error["attr"] for error in response.json()["errors"]] == [name]
    assert not Dataset.objects.exists()


def test_a_table_without_the_label_is_loaded_by_the_page(db: None, client: Client) -> None:
    file = SimpleUploadedFile("test.csv", (CASES / "18-test-without-label.csv").read_bytes())

    client.post("/datasets/ingest/", {"file": file, "no_label": "on", "headings": "age = Age"})
    dataset = Dataset.objects.get()
    ingestion_services.ingest(dataset)
    page = unescape(client.get(f"/datasets/{dataset.pk}/").content.decode())

    assert (dataset.has_label, dataset.row_count) == (False, 3)
    assert "Read as CSV: separator “,”, encoding UTF-8." in page


def test_results_are_a_table_again(champion: ModelVersion, load: Callable[..., Dataset]) -> None:
    first = services.queue_scoring(file=SimpleUploadedFile("table.csv", PLAIN_TEXT), by=None)
    scoring.score(first)
    results = b"".join(scoring.results(first))

    second = services.queue_scoring(file=SimpleUploadedFile("results.csv", results), by=None)
    scoring.score(second)

    assert probabilities(second) == probabilities(first)
    assert load(results).row_count == len(PLAIN)
    assert outcomes.record_file(io.BytesIO(results), by=None).recorded == len(PLAIN)


def test_a_rerun_tells_what_the_uploaded_file_was(champion: ModelVersion) -> None:
    content = workbook(people=[["Passengers"], [], *ROWS, [4, 0, 9]])
    first = services.queue_scoring(file=SimpleUploadedFile("table.xlsx", content), by=None)
    scoring.score(first)

    again = first.rerun()
    scoring.score(again)

    assert again.reading == first.reading
    assert again.reading_report is not None
    assert again.reading_report.format == "Excel"
    assert [each.examples[0].line for each in again.reading_report.rejected if each.column == "pclass"] == [7]
