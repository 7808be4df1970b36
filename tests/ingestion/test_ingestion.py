"""Ingest: what is loaded, what is kept aside, what is refused whole."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from core.errors import TitanicError
from core.jobs import Cancelled, State
from ingestion import services, sources, transports
from ingestion.loading import Loader
from ingestion.models import Dataset, Passenger, RowProblem
from ingestion.passenger import KEY
from ingestion.transports import local
from tests.people import CAST, ELISABETH, HEADER, JAMES, OWEN, csv_line, table

Load = Callable[..., Dataset]


def test_it_works(load: Load, sample: str) -> None:
    dataset = load(sample)

    assert (dataset.state, dataset.row_count, dataset.problem_count) == (State.SUCCEEDED, 1309, 0)
    assert Passenger.objects.of(dataset).count() == 1309
    assert dataset.split["train"] + dataset.split["holdout"] == 1309
    assert len(dataset.sha256) == 64


def test_values_arrive_as_they_are(load: Load) -> None:
    passenger = Passenger.objects.of(load(table(ELISABETH, JAMES))).first()

    assert passenger is not None
    assert {name: getattr(passenger, name) for name in ELISABETH} == ELISABETH
    assert (passenger.passenger_id, passenger.survived, passenger.line_number) == ("1", True, 2)


def test_unknown_is_null(load: Load) -> None:
    james = Passenger.objects.of(load(table(JAMES))).get()

    assert (james.age, james.cabin, james.ticket) == (None, None, None)


def test_bad_rows_are_kept_with_line_column_value_and_reason(load: Load) -> None:
    bad = {**OWEN, "age": 200, "pclass": 4}

    dataset = load(table(ELISABETH, bad, JAMES), largest_problem_share=0.5)

    problems = list(dataset.problems.values_list("line_number", "column", "value"))
    assert problems == [(3, "pclass", "4"), (3, "age", "200")]
    assert dataset.problems.first().reason == "Must be one of 1, 2, 3."
    assert (dataset.row_count, dataset.problem_count) == (2, 1)


def test_too_many_bad_rows_refuse_the_table_and_stay_to_be_seen(load: Load) -> None:
    with pytest.raises(TitanicError, match="1 of 2 rows were rejected"):
        load(table(ELISABETH, {**OWEN, "age": -1}))

    dataset = Dataset.objects.latest()
    assert (dataset.state, dataset.problem_count) == (State.FAILED, 1)
    assert (Passenger.objects.count(), RowProblem.objects.count()) == (0, 1)


def test_the_second_of_two_with_one_id_is_refused(load: Load) -> None:
    text = "\n".join([HEADER, csv_line(7, ELISABETH), csv_line(7, OWEN)])

    dataset = load(text, largest_problem_share=1)

    assert list(dataset.problems.values_list("line_number", "column", "code")) == [(3, KEY, "duplicate")]


def test_the_lower_case_names_of_openml_load_too(load: Load) -> None:
    header = HEADER.lower().replace("passengerid", "home.dest")

    assert load("\n".join([header, csv_line(1, ELISABETH)])).row_count == 1


def test_columns_may_stand_in_another_order(load: Load, sample: str) -> None:
    lines = [line.split(",") for line in table(OWEN, JAMES).replace(", ", " ").splitlines()]
    turned = "\n".join(",".join(reversed(cells)) for cells in lines)

    assert load(turned).row_count == 2


def test_a_byte_order_mark_is_no_part_of_the_first_column(load: Load) -> None:
    assert load(b"\xef\xbb\xbf" + table(*CAST[:3]).encode()).row_count == 3


def test_a_row_with_another_number_of_cells_is_a_problem_of_its_own(load: Load) -> None:
    dataset = load(table(ELISABETH, OWEN) + "1,2,3\n", largest_problem_share=0.5)

    assert list(dataset.problems.values_list("line_number", "code")) == [(4, "ragged")]


def test_a_formula_is_stored_as_it_is(load: Load) -> None:
    dataset = load(table({**JAMES, "ticket": "=cmd|' /C calc'!A0"}))

    assert Passenger.objects.of(dataset).get().ticket == "=cmd|' /C calc'!A0"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("", "The file is empty."),
        (HEADER + "\n", "The table has a header and no rows."),
        (
            table(OWEN).replace(",Age", ",Years"),
            "The table has no column age, and these headings were not read: “Years”.",
        ),
        (
            table(OWEN).replace(",Age", ",Years").replace("Ticket", "Paper"),
            "The table has no column age, ticket, and these headings were not read: “Years”, “Paper”.",
        ),
        (table(OWEN).replace(",Age", ",Fare"), "The column fare is there twice."),
        (HEADER + '\n1,1,1,"Allen', "The row that begins on line 2 cannot be read as CSV"),
        (HEADER + "\n1,1,1," + "x" * 10_000_000 + ",male,,,,,,,\n", "the row is longer than 1 MB"),
        ("<!DOCTYPE html><title>404</title>", "This is a web page (HTML)."),
        (b"\x00\x01\x02\xff", "This is no text."),
    ],
)
def test_a_table_that_is_none_ends_in_one_sentence_and_loads_nothing(
    load: Load, data: str | bytes, sentence: str
) -> None:
    with pytest.raises(TitanicError) as caught:
        load(data)

    dataset = Dataset.objects.latest()
    assert sentence in str(caught.value.message)
    assert (dataset.state, dataset.error) == (State.FAILED, caught.value.message)
    assert Passenger.objects.count() == 0


GOOD_LINES = table(*CAST[:3]).removeprefix(HEADER + "\n")
UNREADABLE = "The row that begins on line %s cannot be read as CSV"


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ('1,1,1,"Allen\n', UNREADABLE % 2),
        ('1,1,1,"Allen, ""Lily""\n', UNREADABLE % 2),
        ('1,1,1,"Allen\n' + GOOD_LINES + '1,1,1,"Allen\n', UNREADABLE % 2),
        ('1,"1\n1","Allen\n', UNREADABLE % 2),
        (GOOD_LINES * 100 + '1,1,1,"Allen\n' + GOOD_LINES * 100, UNREADABLE % 302),
        ('1,1,1,Al"len\n', UNREADABLE % 2),
        ('1,1,1,"Al"len"\n', UNREADABLE % 2),
        ('1,1,1,"Mul\nti ""line"" cell"\n1,1,1,Al"len\n', UNREADABLE % 4),
    ],
)
@pytest.mark.parametrize("block_bytes", [1000, 2 * 1024**2])
def test_a_quote_too_many_is_blamed_on_its_own_line(
    lines: str, sentence: str, block_bytes: int, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestion.table.BLOCK_BYTES", block_bytes)

    with pytest.raises(TitanicError, match=sentence):
        load(f"{HEADER}\n{lines}{GOOD_LINES}")


def test_a_label_is_only_asked_for_where_one_was_promised(load: Load) -> None:
    text = table(OWEN).replace("Survived,", "Ignored,")

    dataset = load(text, has_label=False)

    assert Passenger.objects.of(dataset).get().survived is None
    assert dataset.split is None


def test_a_table_is_loaded_chunk_by_chunk(load: Load, sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestion.table.BLOCK_BYTES", 1000)

    assert load(sample).row_count == 1309


def test_postgres_dying_in_mid_load_leaves_nothing(load: Load, sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("ingestion.loading.Loader.attach", fail)

    with pytest.raises(MemoryError):
        load(sample)

    assert Passenger.objects.count() == 0
    assert Dataset.objects.latest().state == State.FAILED


@pytest.mark.django_db(transaction=True)
class TestSources:
    """Which files may be named."""

    def test_a_file_in_the_inbox_may(self) -> None:
        local.inbox().mkdir(parents=True, exist_ok=True)
        (local.inbox() / "a.csv").write_text(table(OWEN))

        assert services.queue_ingest(uri="a.csv").name == "a.csv"

    @pytest.mark.parametrize("uri", ["/etc/passwd", "../credentials.json", "file:///etc/passwd", "a\0b", "missing.csv"])
    def test_others_may_not(self, uri: str) -> None:
        with pytest.raises(transports.SourceError):
            services.queue_ingest(uri=uri)

        assert not Dataset.objects.exists()

    def test_a_link_out_of_the_inbox_is_not_followed(self, tmp_path: Path) -> None:
        local.inbox().mkdir(parents=True, exist_ok=True)
        link = local.inbox() / "link.csv"
        link.unlink(missing_ok=True)
        link.symlink_to(Path(settings.BASE_DIR) / "pyproject.toml")

        with pytest.raises(transports.SourceError):
            services.queue_ingest(uri="link.csv")

    def test_an_unchanged_source_makes_no_second_dataset(self) -> None:
        source = sources.default()
        (first,) = services.queue_changed(source)
        services.ingest(first)

        assert list(services.queue_changed(source)) == []

    def test_a_changed_source_makes_one(self, inbox: Path) -> None:
        source = sources.default()
        file = inbox / "table.csv"
        source.uri = str(file)
        for people in ([OWEN], [OWEN, JAMES]):
            file.write_text(table(*people))
            (dataset,) = services.queue_changed(source)
            services.ingest(dataset)

        assert list(Dataset.objects.order_by("pk").values_list("row_count", flat=True)) == [1, 2]


def test_columns_come_back_typed(load: Load) -> None:
    keys, columns = next(Passenger.objects.of(load(table(*CAST[:3]))).chunks())

    assert keys == ["1", "2", "3"]
    assert {name: str(column.dtype) for name, column in columns.items()}["age"] == "float64"


def test_the_command_says_what_it_did(db: None, sample_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from django.core.management import call_command

    call_command("ingest", str(sample_path))

    assert "1309 rows loaded, 0 rejected" in capsys.readouterr().out


@pytest.mark.django_db(transaction=True)
def test_a_load_that_is_cancelled_leaves_nothing(load: Load, sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    take = Loader.load

    def cancel(self: Loader, chunk: Any) -> None:
        take(self, chunk)
        # Somebody presses the button, on another connection.
        with ThreadPoolExecutor() as other:
            other.submit(lambda: (Dataset.objects.latest().cancel(), connection.close())).result()

    monkeypatch.setattr(Loader, "load", cancel)

    with pytest.raises(Cancelled):
        load(sample)

    assert Passenger.objects.count() == 0
    assert Dataset.objects.latest().state == State.CANCELLED


def test_unlikely_rows_are_loaded_with_a_warning_or_refused(load: Load) -> None:
    child = {**OWEN, "age": 4, "parch": 3, "name": "Braund, Master. Owen Harris"}

    warned = load(table(child, ELISABETH))
    refused = load(table(child, ELISABETH), rejects_warnings=True, largest_problem_share=0.5)

    assert (warned.row_count, warned.problem_count, warned.warning_count) == (2, 0, 1)
    assert set(warned.problems.values_list("column", "severity")) == {("age", "warning"), ("parch", "warning")}
    assert (refused.row_count, refused.problem_count, refused.warning_count) == (1, 1, 0)


def test_a_column_that_is_mostly_missing_refuses_the_table(load: Load) -> None:
    people = [{**OWEN, "age": None}] * 120

    with pytest.raises(TitanicError, match=r"100% of the column \w+ is missing"):
        load(table(*people), largest_missing_share=0.9)

    assert Passenger.objects.count() == 0
