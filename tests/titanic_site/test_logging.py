"""Log lines: where they go, what each of them says, and that processes do not mix theirs."""

import json
import logging
import logging.config
import multiprocessing
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.test import Client
from django_guid import clear_guid, set_guid

from titanic_site.logging import DailyFile, configuration


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Give the rest of the run its logging back."""
    loggers = [logging.getLogger(name) for name in ("", "titanic_site.access_log")]
    before = [(logger.handlers[:], logger.level) for logger in loggers]
    yield
    for logger, (handlers, level) in zip(loggers, before, strict=True):
        for handler in set(logger.handlers) - set(handlers):
            handler.close()
        logger.handlers, logger.level = handlers, level


def _today(directory: Path) -> Path:
    return directory / f"log_{datetime.now(UTC).date().isoformat()}.log"


def test_it_works(tmp_path: Path) -> None:
    logging.config.dictConfig(configuration(tmp_path / "logs", log_format="text", kept_days=30))
    set_guid("abc123")

    logging.getLogger("titanic").info("the %s sails", "ship")

    line = _today(tmp_path / "logs").read_text()
    assert " INFO titanic [abc123] " in line
    assert line.endswith("the ship sails\n")
    clear_guid()


def test_a_line_is_one_json_object_when_asked(tmp_path: Path) -> None:
    logging.config.dictConfig(configuration(tmp_path, log_format="json", kept_days=30))

    logging.getLogger("titanic").error("it sank", exc_info=ValueError("iceberg"))

    line = json.loads(_today(tmp_path).read_text())
    assert (line["level"], line["logger"], line["message"], line["request_id"]) == ("ERROR", "titanic", "it sank", "")
    assert line["process"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert abs(datetime.fromisoformat(line["time"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert "iceberg" in line["exc_info"]


@pytest.mark.django_db
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_django_s_own_lines_tell_no_token_of_a_password_link_and_no_query(tmp_path: Path, log_format: str) -> None:
    logging.config.dictConfig(configuration(tmp_path, log_format=log_format, kept_days=30))
    address = "/accounts/reset/MQ/c9zz-0123456789/"

    Client().get(f"/nowhere{address}", {"find": "Allen"})
    Client(enforce_csrf_checks=True).post(address)

    text = _today(tmp_path).read_text()
    assert "Not Found: /nowhere/accounts/reset/MQ/" in text
    assert "c9zz" not in text
    assert "Allen" not in text


@pytest.mark.django_db
@pytest.mark.parametrize(("is_printed", "printed"), [(False, 0), (True, 1)])
def test_the_access_log_is_printed_where_nobody_watches(
    tmp_path: Path, is_printed: bool, printed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.config.dictConfig(configuration(tmp_path, log_format="json", kept_days=30, is_access_printed=is_printed))

    guid = Client().get("/nowhere/").headers["X-Request-ID"]

    (line,) = [line for line in map(json.loads, _today(tmp_path).read_text().splitlines()) if "path" in line]
    assert (line["request_id"], line["path"], line["status"], line["user"]) == (guid, "/nowhere/", 404, None)
    assert capsys.readouterr().err.count('"path": "/nowhere/"') == printed


def test_what_is_refused_as_hostile_takes_one_line(tmp_path: Path) -> None:
    logging.config.dictConfig(configuration(tmp_path, log_format="text", kept_days=30))

    logging.getLogger("django.security.DisallowedHost").error("evil.example", exc_info=ValueError("evil"))

    assert _today(tmp_path).read_text().count("\n") == 1


@pytest.mark.django_db
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_whatever_a_client_names_an_entry_is_one_line_in_no_colour(tmp_path: Path, log_format: str) -> None:
    logging.config.dictConfig(configuration(tmp_path, log_format=log_format, kept_days=30))
    name = "a\n2026-11-01T00:00:00.000Z ERROR forged\r\x1b[31m\u202e\x85\u2028"

    logging.getLogger("titanic").error("cannot read %s", name, exc_info=ValueError(name))

    text = _today(tmp_path).read_text()
    assert text.replace("\n", "").isprintable()
    assert [line for line in text.split("\n") if line and not line.startswith("  ")] == [text.split("\n")[0]]


def test_nothing_is_made_before_the_first_line(tmp_path: Path) -> None:
    logging.config.dictConfig(configuration(tmp_path / "logs", log_format="text", kept_days=30))

    assert not (tmp_path / "logs").exists()


def test_a_line_goes_into_the_file_of_its_day(tmp_path: Path) -> None:
    handler = DailyFile(str(tmp_path), kept_days=30)
    for day in ("1912-04-14T23:59:59", "1912-04-15T00:00:00"):
        record = logging.makeLogRecord({"msg": day})
        record.created = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
        handler.handle(record)
    handler.close()

    assert (tmp_path / "log_1912-04-14.log").read_text() == "1912-04-14T23:59:59\n"
    assert (tmp_path / "log_1912-04-15.log").read_text() == "1912-04-15T00:00:00\n"


def test_a_file_older_than_the_setting_is_deleted_with_the_first_line_of_a_day(tmp_path: Path) -> None:
    theirs = ("postgres.log", "log_1911-01-01.txt", "log_1911-01-01.log.gz", "log_of_the_ship.log")
    for name in ("log_1912-03-14.log", "log_1912-03-15.log", "log_1912-04-14.log", *theirs):
        (tmp_path / name).touch()
    (tmp_path / "log_1910-01-01.log").mkdir()
    handler = DailyFile(str(tmp_path), kept_days=31)
    record = logging.makeLogRecord({"msg": "day"})
    record.created = datetime(1912, 4, 15, tzinfo=UTC).timestamp()

    handler.handle(record)
    handler.close()

    kept = {"log_1912-03-15.log", "log_1912-04-14.log", "log_1912-04-15.log", *theirs}
    # What is no file of ours is left, and keeps no line out of the log.
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "log_1910-01-01.log"}
    assert (tmp_path / "log_1912-04-15.log").read_text() == "day\n"


def test_libraries_that_tell_of_every_tick_are_quiet(tmp_path: Path) -> None:
    logging.config.dictConfig(configuration(tmp_path, log_format="text", kept_days=30))

    logging.getLogger("celery.beat").info("Scheduler: Sending due task")
    logging.getLogger("celery.beat").warning("late")

    assert "Sending due" not in _today(tmp_path).read_text()
    assert "late" in _today(tmp_path).read_text()


def _write(directory: str, letter: str) -> None:
    handler = DailyFile(directory, kept_days=30)
    for _ in range(500):
        handler.handle(logging.makeLogRecord({"msg": letter * 300}))
    handler.close()


def test_processes_do_not_write_into_each_others_lines(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write, args=(str(tmp_path), letter)) for letter in "abc"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    lines = _today(tmp_path).read_text().splitlines()
    assert len(lines) == 1500
    assert set(lines) == {letter * 300 for letter in "abc"}
