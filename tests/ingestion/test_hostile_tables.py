"""Hostile tables through every channel: one clear sentence and nothing half-loaded, or the good rows and all reasons.

A channel takes a table's bytes as a person would send them, and returns the sentence that the person reads; an empty
one when the table was loaded.
"""

import csv
import errno
import gzip
import os
import re
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from html import unescape
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from django.contrib.messages import get_messages
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test import Client
from rest_framework.test import APIClient

from core import http_errors
from core.errors import TitanicError
from core.jobs import State
from ingestion import partitions, services, sources
from ingestion.loading import Loader
from ingestion.models import Dataset, Passenger, RejectedRow, RowProblem, Source
from ingestion.transports import bucket
from ingestion.transports.transfer import BoundedWriter
from tests.people import CAST, ELISABETH, HEADER, JAMES, OWEN, csv_line, table
from titanic_site import pipeline

pytestmark = pytest.mark.django_db

Channel = Callable[[bytes], str]
MB = 1024**2
GOOD_COUNT = 200
GOOD = [CAST[number % 3] for number in range(GOOD_COUNT)]
BAD_LINE = GOOD_COUNT + 2
FORMULA = "=cmd|' /C calc'!A0"
MARKUP = "<script>alert(1)</script>"
DISK_FULL = "The disk is full. Make room and try again."
DATABASE_AWAY = "A service is unavailable for the moment. Try again in a few seconds."


def good_rows_and(*lines: str) -> bytes:
    """Enough good rows that a few bad ones do not refuse the table, and these."""
    return (table(*GOOD) + "".join(f"{line}\n" for line in lines)).encode()


def bad_row(number: int = BAD_LINE - 1, **cells: object) -> str:
    return csv_line(number, {**OWEN, **cells})


def run_job() -> Dataset:
    """What the worker does with the newest job; what it ends in stands on the dataset."""
    dataset = Dataset.objects.latest()
    with suppress(TitanicError):
        services.ingest(dataset)
    return Dataset.objects.get(pk=dataset.pk)


def new_source(uri: object) -> Source:
    # Without a label no training follows.
    source = Source(name="hostile", uri=str(uri), has_label=False)
    sources.save(source, every=timedelta(hours=1), is_enabled=True)
    return source


@pytest.fixture
def path(inbox: Path) -> Path:
    """The file that command and schedule read."""
    return inbox / "table.csv"


@pytest.fixture(params=["command"])
def channel(request: pytest.FixtureRequest, client: Client, api: APIClient, path: Path) -> Channel:
    """One of the channels, or each in turn: `services.ingest` is behind all of them, and some tests hold that it is."""

    def page(content: bytes) -> str:
        response = client.post("/datasets/ingest/", {"file": SimpleUploadedFile("table.csv", content)})
        assert response.status_code == 302
        dataset = run_job()
        shown = client.get(response["Location"])
        assert shown.status_code == 200
        assert str(dataset.error) in unescape(shown.content.decode())
        return str(dataset.error)

    def api_(content: bytes) -> str:
        response = api.post("/api/v1/datasets/", {"file": SimpleUploadedFile("table.csv", content)}, format="multipart")
        assert response.status_code == 202
        run_job()
        return str(api.get(response["Location"]).data["error"])

    def command(content: bytes) -> str:
        path.write_bytes(content)
        try:
            call_command("ingest", str(path), stdout=StringIO())
        except CommandError as error:
            return str(error)
        return ""

    def schedule(content: bytes) -> str:
        path.write_bytes(content)
        pipeline.fetch(new_source(path))
        return str(Dataset.objects.latest().error)

    return {"page": page, "api": api_, "command": command, "schedule": schedule}[request.param]


through_every_channel = pytest.mark.parametrize("channel", ["page", "api", "command", "schedule"], indirect=True)


def assert_is_one_sentence(text: str) -> None:
    """One sentence on what is wrong and one on the next step at most, and nothing of the program's inside."""
    assert text.endswith(".")
    assert "\n" not in text
    assert len(text) < 400
    assert not re.search(r"Traceback|\b\w*(Error|Exception)\b|<class|0x[0-9a-f]{4}", text), text


def assert_nothing_is_loaded(dataset: Dataset) -> None:
    """No row can be seen, and none lies where rows wait to be seen."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s)", [partitions.name_of(dataset)])
        assert cursor.fetchone() == (None,)
    assert Passenger.objects.count() == 0


def assert_is_refused(message: str, sentence: str) -> None:
    """The newest dataset failed with the sentence that was told, and left no row."""
    dataset = Dataset.objects.latest()
    assert sentence in message
    assert_is_one_sentence(message)
    assert (dataset.state, str(dataset.error)) == (State.FAILED, message)
    assert_nothing_is_loaded(dataset)


ACCENTS = table({**OWEN, "name": "Bjørn, Mr. Åke"})
BREAKS_OFF = "The compressed file is damaged or breaks off."
CUT_OFF = gzip.compress(table(*GOOD).encode())
TOO_LONG = "longer than 1 MB"
REFUSED: dict[str, tuple[bytes, str]] = {
    "header only": (HEADER.encode() + b"\n", "The table has a header and no rows."),
    "byte order mark only": (b"\xef\xbb\xbf", "The file is empty."),
    "nothing but blank lines": (b"\n \n\r\n", "The file is empty."),
    "missing column": (
        table(OWEN).replace(",Age", ",Years").encode(),
        "The table has no column age, and these headings were not read: “Years”.",
    ),
    "doubled column": (table(OWEN).replace(",Age", ",Fare").encode(), "The column fare is there twice."),
    "UTF-8 and Latin-1": ((ACCENTS * 2).encode() + ACCENTS.encode("latin-1"), "UTF-8 in one part and not in another."),
    "an image": (b"\x89PNG\r\n\x1a\n", "This is an image. Send the table as"),
    "a web page": (b"<!DOCTYPE html><title>404</title>", "This is a web page (HTML). Send the table as"),
    "JSON that is no table": (b'[{"pclass": 1}, 2]', "This is JSON, but no table"),
    "quote never closed": (good_rows_and('201,1,1,"Allen'), f"The row that begins on line {BAD_LINE} cannot be"),
    "quote never closed in a long table": (
        table(OWEN).encode() + b'2,1,1,"Allen\n' + table(*CAST[:3] * 8_000).encode(),
        "The row that begins on line 3 cannot be read as CSV",
    ),
    "cell of ten megabytes": (good_rows_and("201,1,1," + "x" * 10 * MB + ",male,,,,,,,"), TOO_LONG),
    "quoted cell of ten megabytes": (good_rows_and('201,1,1,"' + "x" * 10 * MB + '",male,,,,,,,'), TOO_LONG),
    "heading of ten megabytes": (b"x" * 10 * MB + b"," + table(OWEN).encode(), TOO_LONG),
    "heading beyond one megabyte": (b"x" * (MB + 1) + b"," + table(OWEN).encode(), TOO_LONG),
    "gzip cut off": (CUT_OFF[:-30], BREAKS_OFF),
    "gzip damaged": (CUT_OFF[:60] + b"\0\0\0\0" + CUT_OFF[64:], BREAKS_OFF),
    "workbook": (b"PK\x03\x04\x14\0\0\0\x08\0" + bytes(range(256)) * 10, BREAKS_OFF),
}


@pytest.mark.parametrize(("content", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_table_is_refused_in_one_sentence(channel: Channel, content: bytes, sentence: str) -> None:
    message = channel(content)

    assert_is_refused(message, sentence)
    assert not RowProblem.objects.exists()


@through_every_channel
def test_a_refusal_is_told_alike_through_every_channel(channel: Channel) -> None:
    message = channel(CUT_OFF[:-30])

    assert_is_refused(message, BREAKS_OFF)


def test_an_empty_file_is_refused(channel: Channel) -> None:
    message = channel(b"")

    assert_is_refused(message, "The file is empty.")


def test_an_empty_file_is_refused_on_the_page_at_once(client: Client) -> None:
    response = client.post("/datasets/ingest/", {"file": SimpleUploadedFile("table.csv", b"")})

    assert response.status_code == 400
    assert "The submitted file is empty." in response.content.decode()
    assert not Dataset.objects.exists()


def test_an_empty_file_is_refused_by_the_api_at_once(api: APIClient) -> None:
    response = api.post("/api/v1/datasets/", {"file": SimpleUploadedFile("table.csv", b"")}, format="multipart")

    assert response.status_code == 400
    assert [error["detail"] for error in response.json()["errors"]] == ["The submitted file is empty."]
    assert not Dataset.objects.exists()


LOADED: dict[str, bytes] = {
    "UTF-8 with a mark": b"\xef\xbb\xbf" + table(*GOOD).encode(),
    "gzip": gzip.compress(table(*GOOD).encode()),
    "gzip of UTF-8 with a mark": gzip.compress(b"\xef\xbb\xbf" + table(*GOOD).encode()),
    "line ends of Windows": table(*GOOD).replace("\n", "\r\n").encode(),
    "blank lines": ("\n \n" + table(*GOOD).replace("\n", "\n\n")).encode(),
    "line ends of an old Mac": table(*GOOD).replace("\n", "\r").encode(),
    "UTF-16 little-endian, no mark": table(*GOOD).encode("utf-16-le"),
    "UTF-16 big-endian, no mark": table(*GOOD).encode("utf-16-be"),
}


@pytest.mark.parametrize("content", LOADED.values(), ids=LOADED)
def test_what_is_only_unusual_is_loaded(channel: Channel, content: bytes) -> None:
    message = channel(content)

    dataset = Dataset.objects.get()
    assert (message, dataset.state, dataset.problem_count) == ("", State.SUCCEEDED, 0)
    assert Passenger.objects.of(dataset).count() == GOOD_COUNT


CELLS: list[tuple[str, str, str]] = [
    ("name", "Braund\0, Mr. Owen", "Braund␀, Mr. Owen"),
    ("age", "2\0", "2␀"),
    ("fare", "1e999", "1e999"),
    ("age", "inf", "inf"),
    ("fare", "-7.25", "-7.25"),
    ("age", "200", "200"),
    ("pclass", "4", "4"),
    ("age", "2\n2", "2\n2"),
    ("name", "x" * (MB // 2), "x" * 1000),
]


@through_every_channel
def test_each_bad_cell_is_kept_aside_with_its_column_and_value_and_the_good_rows_are_loaded(channel: Channel) -> None:
    rows = [bad_row(GOOD_COUNT + place, **{column: cell}) for place, (column, cell, _stored) in enumerate(CELLS, 1)]

    message = channel(good_rows_and(*rows))

    dataset = Dataset.objects.get()
    assert (message, dataset.state, dataset.problem_count) == ("", State.SUCCEEDED, len(CELLS))
    assert Passenger.objects.of(dataset).count() == dataset.row_count == GOOD_COUNT
    stored = [(column, value) for column, _cell, value in CELLS]
    assert list(dataset.problems.values_list("column", "value")) == stored
    for problem in dataset.problems.all():
        assert_is_one_sentence(problem.reason)


def test_a_row_with_several_bad_cells_has_a_problem_for_each(channel: Channel) -> None:
    message = channel(good_rows_and(bad_row(pclass=4, age="old", fare="1e999")))

    dataset = Dataset.objects.get()
    assert (message, dataset.problem_count, dataset.row_count) == ("", 1, GOOD_COUNT)
    assert list(dataset.problems.values_list("line_number", "column", "value")) == [
        (BAD_LINE, "pclass", "4"), (BAD_LINE, "age", "old"), (BAD_LINE, "fare", "1e999"),
    ]  # fmt: skip


# What ends lines on an old Mac ends none here.
ROWS: dict[str, tuple[str, tuple[str, str, str]]] = {
    "too many cells": (bad_row() + ",more,and more", ("", "", "ragged")),
    "too few cells": ("201,1,3", ("", "", "ragged")),
    "too few cells, one with a NUL": ("201,1,\0", ("", "", "ragged")),
    "too few cells, one with a carriage return": ("201,1,3\r202,1,3", ("", "", "ragged")),
    "too many cells, one beyond one megabyte": (bad_row() + "," + "x" * (MB + 1), ("", "", "ragged")),
    "a carriage return in a number": (bad_row(age="2\r2"), ("age", "2\r2", "not_a_number")),
}


@pytest.mark.parametrize(("line", "expected"), ROWS.values(), ids=ROWS)
def test_a_misshapen_row_is_kept_aside_and_the_good_ones_are_loaded(
    channel: Channel, line: str, expected: tuple[str, str, str]
) -> None:
    message = channel(good_rows_and(line))

    dataset = Dataset.objects.get()
    assert (message, dataset.state, dataset.problem_count) == ("", State.SUCCEEDED, 1)
    assert Passenger.objects.of(dataset).count() == dataset.row_count == GOOD_COUNT
    assert list(dataset.problems.values_list("column", "value", "code")) == [expected]
    assert [row.line_number for row in dataset.rejected_rows.all()] == [BAD_LINE]


def test_bad_rows_can_be_seen_and_downloaded_everywhere(client: Client, api: APIClient, load: Any) -> None:
    rows = [bad_row(GOOD_COUNT + place, **{column: cell}) for place, (column, cell, _value) in enumerate(CELLS, 1)]
    dataset = load(good_rows_and("201,1,\0", bad_row() + ",more", *rows))
    page = f"/datasets/{dataset.pk}/"
    lines = dataset.rejected_rows.values_list("line_number", flat=True)

    pages = [client.get(f"{page}{rest}") for rest in ("", "problems.csv", "rejected.csv")]
    forms = [client.get(f"{page}lines/{line}/") for line in lines]
    problems = api.get(f"/api/v1{page}problems/")

    assert len(forms) == len(CELLS) + 2
    assert {answer.status_code for answer in [*pages, *forms, problems]} == {200}
    assert len(problems.data["results"]) == len(CELLS) + 2


MENDED: dict[str, tuple[bytes, int]] = {
    "UTF-16": ("line,age\n202,3\n".encode("utf-16"), 302),
    "line ends of an old Mac": (b"line,age\r202,3\r", 302),
    "gzip cut off": (gzip.compress(b"line,age\n202,3\n")[:-9], 400),
    "a line number of many digits": (b"line,age\n" + b"9" * 5000 + b",3\n", 302),
    "a row with too few cells": (b"line,age,fare\n202,3\n", 302),
    "a row with too few cells, one with a carriage return": (b"line,age,fare\n202,3\r1\n", 302),
}


@pytest.mark.parametrize(("content", "status"), MENDED.values(), ids=MENDED)
def test_a_hostile_corrected_file_adds_nothing_and_says_why(
    client: Client, load: Any, content: bytes, status: int
) -> None:
    dataset = load(good_rows_and(bad_row(age=200)))
    client.raise_request_exception = False

    answer = client.post(f"/datasets/{dataset.pk}/correct/", {"file": SimpleUploadedFile("corrected.csv", content)})

    assert answer.status_code == status
    messages = [str(message) for message in get_messages(answer.wsgi_request)]
    assert status == 400 or messages
    assert Passenger.objects.of(dataset).count() == GOOD_COUNT


def test_more_bad_rows_than_allowed_refuse_the_table_and_stay_to_be_seen(channel: Channel) -> None:
    message = channel(table(OWEN, {**OWEN, "age": "old"}).encode())

    assert_is_refused(message, "1 of 2 rows were rejected")
    assert list(RowProblem.objects.values_list("column", "value")) == [("age", "old")]


BOMBS: dict[str, bytes] = {
    "blank lines": gzip.compress(table(OWEN).encode()) + gzip.compress(b"\n" * 16 * MB) * 64,
    "one row again and again": gzip.compress(table(OWEN).encode())
    + gzip.compress((bad_row() + "\n").encode() * 200_000) * 64,
    "one long cell": gzip.compress(HEADER.encode() + b"\n1,1,1,") + gzip.compress(b"x" * 16 * MB) * 64,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_gzip_bomb_is_refused_and_takes_little_memory(channel: Channel, bomb: bytes) -> None:
    tracemalloc.start()

    message = channel(bomb)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert_is_refused(message, "")
    assert re.search("unpacks to more than any table would|longer than 1 MB", message)
    assert peak < 200 * MB


TEXTS = [
    FORMULA,
    MARKUP,
    "Moran,\nMr. James",
    "Moran,\rMr. James",
    "Moran,\r\nMr. James",
    "Moran; \\N \\.",
    "Moran\n\\.\nJames",
]


def test_a_text_is_stored_as_it_is(channel: Channel) -> None:
    people = [{**JAMES, "name": text, "cabin": text, "ticket": text} for text in TEXTS]

    message = channel(table(*people).encode())

    passengers = Passenger.objects.of(Dataset.objects.get())
    assert message == ""
    assert [(who.name, who.cabin, who.ticket) for who in passengers] == [(text, text, text) for text in TEXTS]


@pytest.mark.parametrize(
    "formulas",
    [[FORMULA, "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1+1)", "\t=1+1", " =1+1", "＝1+1"], ["\r=1+1"]],
    ids=["plain", "behind a carriage return"],
)
def test_a_formula_leaves_only_with_a_quote_before_it(client: Client, load: Any, formulas: list[str]) -> None:
    rows = [
        bad_row(GOOD_COUNT + place, name=formula, age=formula, cabin="C85") for place, formula in enumerate(formulas)
    ]
    dataset = load(good_rows_and(*rows))

    downloads = [client.get(f"/datasets/{dataset.pk}/{name}.csv") for name in ("problems", "rejected")]

    for download in downloads:
        cells = [cell for row in csv.reader(StringIO(download.content.decode(), newline="")) for cell in row]
        assert {f"'{formula}" for formula in formulas} <= set(cells)
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_markup_is_shown_as_text(client: Client, load: Any) -> None:
    dataset = load(good_rows_and(bad_row(name=MARKUP, age=MARKUP, sex=MARKUP)))

    shown = [client.get(f"/datasets/{dataset.pk}/{page}").content.decode() for page in ("", f"lines/{BAD_LINE}/")]

    for html in shown:
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
        assert MARKUP not in html


def test_markup_in_the_name_of_the_file_is_shown_as_text(client: Client) -> None:
    image = "<img src=x onerror=alert(1)>.csv"
    response = client.post("/datasets/ingest/", {"file": SimpleUploadedFile(image, table(*GOOD).encode())})

    run_job()
    shown = [client.get(url).content.decode() for url in (response["Location"], "/datasets/")]

    assert Dataset.objects.get().row_count == GOOD_COUNT
    for html in shown:
        assert "<img src=x" not in html
        assert "onerror=alert(1)" in html


@contextmanager
def while_read(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> Iterator[None]:
    """Somebody else changes the file after its first block was read and before its last."""
    is_being_read, is_changed = threading.Event(), threading.Event()
    write = BoundedWriter.write

    def slow(self: BoundedWriter, block: bytes) -> int:
        is_being_read.set()
        assert is_changed.wait(10)
        return write(self, block)

    def somebody_else() -> None:
        if is_being_read.wait(10):
            change()
        is_changed.set()

    thread = threading.Thread(target=somebody_else)
    with monkeypatch.context() as patch:
        patch.setattr(BoundedWriter, "write", slow)
        thread.start()
        yield
        thread.join()


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write(bad_row() + "\n")


CHANGES: dict[str, Callable[[Path], object]] = {
    "grows": append,
    "shrinks": lambda path: os.truncate(path, 100),
    "is overwritten": lambda path: path.write_text(table(ELISABETH)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_look(
    channel: Channel, path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    with while_read(monkeypatch, lambda: change(path)):
        message = channel(table(*GOOD).encode())

    assert_is_refused(message, f"{path} changed while it was read. The next check takes it.")


def test_a_file_that_has_grown_is_whole_at_the_next_look(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(table(*GOOD))
    source = new_source(path)

    with while_read(monkeypatch, lambda: append(path)):
        first = pipeline.fetch(source)
    second = pipeline.fetch(source)

    assert first == []
    assert [dataset.row_count for dataset in second] == [GOOD_COUNT + 1]


def test_a_file_replaced_while_it_is_read_is_loaded_as_it_was(
    channel: Channel, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = path.with_name("other.csv")
    other.write_text(table(ELISABETH))

    with while_read(monkeypatch, lambda: other.replace(path)):
        message = channel(table(*GOOD).encode())

    assert message == ""
    assert Passenger.objects.of(Dataset.objects.get()).count() == GOOD_COUNT


def test_the_replacement_is_loaded_at_the_next_look(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = path.with_name("other.csv")
    other.write_text(table(ELISABETH))
    path.write_text(table(*GOOD))
    source = new_source(path)

    with while_read(monkeypatch, lambda: other.replace(path)):
        first = pipeline.fetch(source)
    second = pipeline.fetch(source)

    assert [dataset.row_count for dataset in first + second] == [GOOD_COUNT, 1]


@pytest.fixture(params=["page", "api"])
def address(request: pytest.FixtureRequest, client: Client, api: APIClient) -> Callable[[str], tuple[int, str]]:
    """Name an address at the page or the API; the status and what is answered."""

    def page(uri: str) -> tuple[int, str]:
        response = client.post("/datasets/ingest/", {"uri": uri})
        return response.status_code, unescape(response.content.decode())

    def api_(uri: str) -> tuple[int, str]:
        response = api.post("/api/v1/datasets/", {"uri": uri}, format="json")
        details = [error["detail"] for error in response.json().get("errors", [])]
        return response.status_code, " ".join(details)

    return page if request.param == "page" else api_


NOT_FOR_EVERYBODY = {
    "/etc/passwd": "/etc/passwd is outside the allowed folder.",
    "../credentials.json": "../credentials.json is outside the allowed folder.",
    "~/.ssh/id_rsa": "There is no file at",
    "file:///etc/passwd": "Name a file by its path alone, without file://.",
    "FILE:///etc/passwd": "Name a file by its path alone, without file://.",
    "http://127.0.0.1/a.csv": "is no address this system reads",
    "postgresql://localhost/titanic#auth_user": "",
}


def test_an_address_that_is_not_for_everybody_is_400(address: Callable[[str], tuple[int, str]]) -> None:
    answers = {uri: address(uri) for uri in NOT_FOR_EVERYBODY}

    for uri, (status, answer) in answers.items():
        assert status == 400, uri
        assert NOT_FOR_EVERYBODY[uri] in answer
        assert "Traceback" not in answer
    assert not Dataset.objects.exists()


PRIVATE = [
    "https://127.0.0.1/a.csv",
    "https://localhost/a.csv",
    "https://[::1]/a.csv",
    "https://[::ffff:127.0.0.1]/a.csv",
    "https://0.0.0.0/a.csv",
    "https://2130706433/a.csv",
    "https://10.0.0.1/a.csv",
    "https://172.16.0.1/a.csv",
    "https://192.168.1.1/a.csv",
    "https://169.254.169.254/computeMetadata/v1/",
    "https://[fd00::1]/a.csv",
]


def test_an_address_inside_the_network_is_not_fetched(address: Callable[[str], tuple[int, str]]) -> None:
    ends = {uri: (address(uri)[0], run_job()) for uri in PRIVATE}

    for uri, (status, dataset) in ends.items():
        assert status in (202, 302)
        assert (dataset.uri, dataset.state) == (uri, State.FAILED)
        assert "leads to a private or local address, which is not fetched." in str(dataset.error)
        assert_is_one_sentence(str(dataset.error))


def terminate(pid: int) -> None:
    """What an administrator does, from a connection of their own."""
    settings_dict = connection.settings_dict
    other = psycopg2.connect(
        dbname=settings_dict["NAME"],
        user=settings_dict["USER"],
        password=settings_dict["PASSWORD"],
        host=settings_dict["HOST"],
        port=settings_dict["PORT"],
    )
    other.autocommit = True
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    other.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("channel", "block_bytes"),
    [("page", 300), ("api", 300), ("schedule", 300), ("command", 300), ("command", 2 * MB)],
    indirect=["channel"],
)
def test_postgres_going_away_in_mid_load_leaves_nothing_and_the_next_start_succeeds(
    channel: Channel, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    original = Loader.load

    def load_and_lose(self: Loader, chunk: Any) -> None:
        original(self, chunk)
        terminate(connection.connection.info.backend_pid)

    with monkeypatch.context() as patch:
        patch.setattr("ingestion.table.BLOCK_BYTES", block_bytes)
        patch.setattr(Loader, "load", load_and_lose)
        message = channel(table(*GOOD).encode())

    assert_is_refused(message, DATABASE_AWAY)
    again = Dataset.objects.get().rerun()
    services.ingest(again)
    assert Passenger.objects.of(again).count() == GOOD_COUNT


@pytest.mark.parametrize("size", [1, 20_000], ids=["noticed at the end", "noticed at once"])
def test_a_full_disk_under_the_spool_says_so(channel: Channel, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: open("/dev/full", "w+b"))  # noqa: PTH123, SIM115 - in place of one that the caller closes

    message = channel(table(OWEN, JAMES).encode() * size)

    assert_is_refused(message, DISK_FULL)


@pytest.mark.django_db(transaction=True)
def test_a_full_disk_under_the_uploads_says_so(api: APIClient, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(FileSystemStorage, "_save", full)
    client.raise_request_exception = False

    responses: list[Any] = [
        client.post("/datasets/ingest/", {"file": SimpleUploadedFile("table.csv", table(OWEN).encode())}),
        api.post("/api/v1/datasets/", {"file": SimpleUploadedFile("table.csv", b"a")}, format="multipart"),
    ]

    assert [response.status_code for response in responses] == [503, 503]
    for response in responses:
        assert "The disk is full." in response.content.decode()
    assert not Dataset.objects.exists()


FULL = "RAISE EXCEPTION 'could not extend file \"base/1/2\": No space left on device' USING ERRCODE = '53100';"


@pytest.fixture
def _no_room_for_passengers() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE FUNCTION is_room() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN {FULL} END $$")
        cursor.execute("ALTER TABLE ingestion_passenger ADD CONSTRAINT room CHECK (is_room())")
    yield
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ingestion_passenger DROP CONSTRAINT room")
        cursor.execute("DROP FUNCTION is_room()")


@pytest.fixture
def _no_room_for_problems() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {FULL} END $$")
        cursor.execute(
            "CREATE TRIGGER room BEFORE INSERT ON ingestion_rowproblem FOR EACH ROW EXECUTE FUNCTION no_room()"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER room ON ingestion_rowproblem")
        cursor.execute("DROP FUNCTION no_room()")


@pytest.mark.usefixtures("_no_room_for_passengers")
def test_a_full_disk_under_postgres_says_so(channel: Channel) -> None:
    message = channel(good_rows_and(bad_row(age=200)))

    assert_is_refused(message, DISK_FULL)
    assert not RowProblem.objects.exists()


@pytest.mark.usefixtures("_no_room_for_problems")
def test_a_disk_that_fills_up_with_problems_says_so(channel: Channel) -> None:
    message = channel(good_rows_and(bad_row(age=200)))

    assert_is_refused(message, DISK_FULL)
    assert not RejectedRow.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", range(4))
def test_of_two_that_fetch_one_source_at_once_exactly_one_loads_it(path: Path, number: int) -> None:
    path.write_text(table(*GOOD, *CAST[:number]))
    source = new_source(path)
    start, fetched, failed = threading.Barrier(2), [], []

    def fetch() -> None:
        start.wait(10)
        try:
            fetched.extend(pipeline.fetch(source))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is shown below
            failed.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert [dataset.state for dataset in Dataset.objects.all()] == [State.SUCCEEDED]
    assert fetched == [Dataset.objects.get()]
    assert Passenger.objects.count() == GOOD_COUNT + number


def test_a_bucket_without_a_network_is_told_on_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(bucket, "DEADLINE_SECONDS", 1.0)
    monkeypatch.setattr(http_errors, "TIMEOUT", (1.0, 1.0))
    source = new_source("gs://ship/people.csv")

    with pytest.raises(TitanicError) as raised:
        pipeline.fetch(source)

    source.refresh_from_db()
    assert "gs://ship/people.csv cannot be reached: no server answers there." in str(raised.value.message)
    assert_is_one_sentence(str(raised.value.message))
    assert source.error == raised.value.message
    assert not Dataset.objects.exists()
