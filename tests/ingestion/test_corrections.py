"""Rejected rows: corrected on the page or in a file, and accepted through the same contract."""

import csv
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

import features.services
from core import redis
from core.errors import Conflict, Invalid
from ingestion import corrections, loading, services
from ingestion.models import Dataset, Passenger
from tests.people import CAST, ELISABETH, JAMES, OWEN, table

Load = Callable[..., Dataset]
OLD = {**OWEN, "age": 200}


@pytest.fixture
def dataset(load: Load) -> Dataset:
    """Elisabeth and James, and between them Owen with an age nobody reaches."""
    return load(table(ELISABETH, OLD, JAMES), largest_problem_share=0.5)


def row(dataset: Dataset) -> Any:
    return dataset.rejected_rows.get(line_number=3)


def test_a_corrected_row_becomes_the_passenger_of_its_line(dataset: Dataset) -> None:
    corrections.accept(row(dataset), {**corrections.cells_of(row(dataset)), "age": "22"})

    dataset.refresh_from_db()
    assert [p.line_number for p in Passenger.objects.of(dataset)] == [2, 3, 4]
    assert Passenger.objects.get(line_number=3).age == 22
    assert (dataset.row_count, dataset.problem_count, dataset.revision) == (3, 0, 1)
    assert dataset.split["train"] + dataset.split["holdout"] == 3
    assert row(dataset).corrected_at is not None


def test_a_row_that_is_still_wrong_stays_rejected_with_the_field_named(dataset: Dataset) -> None:
    with pytest.raises(Invalid) as raised:
        corrections.accept(row(dataset), {**corrections.cells_of(row(dataset)), "age": "-3", "pclass": "4"})

    assert set(raised.value.errors) == {"age", "pclass"}
    assert Passenger.objects.count() == 2
    assert row(dataset).corrected_at is None


def test_a_passenger_who_is_there_is_not_accepted_again(dataset: Dataset) -> None:
    with pytest.raises(Invalid) as raised:
        corrections.accept(row(dataset), {**corrections.cells_of(row(dataset)), "age": "22", "passenger_id": "1"})

    assert list(raised.value.errors) == ["passenger_id"]


def test_those_on_one_ticket_stay_together(load: Load) -> None:
    family = [{**OWEN, "ticket": "one"} for _ in range(3)]
    dataset = load(table(*family, {**OLD, "ticket": "one"}), largest_problem_share=0.5)

    corrections.accept(dataset.rejected_rows.get(), {**corrections.cells_of(dataset.rejected_rows.get()), "age": "22"})

    assert Passenger.objects.of(dataset).values_list("is_holdout").distinct().count() == 1


def test_a_table_may_have_no_group(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (services, loading, corrections):
        monkeypatch.setattr(module, "GROUP", None)
    people = [{**OWEN, "ticket": "one"} for _ in range(50)]

    dataset = load(table(*people, {**OLD, "ticket": "one"}))
    (row,) = dataset.rejected_rows.all()
    corrections.accept(row, {**corrections.cells_of(row), "age": "22"})

    assert dataset.split == {"method": "stratified", "seed": 42, "train": 40, "holdout": 10}
    dataset.refresh_from_db()
    assert dataset.split["train"] + dataset.split["holdout"] == 51


def test_features_made_before_know_nothing_of_it_and_can_still_be_rebuilt(dataset: Dataset) -> None:
    batch = features.services.queue_build(dataset=dataset)
    features.services.build(batch)

    corrections.accept(row(dataset), {**corrections.cells_of(row(dataset)), "age": "22"})
    redis.client().flushall()
    rebuilt = len(features.services.matrix(batch))
    dataset.refresh_from_db()
    newer = features.services.queue_build(dataset=dataset)
    features.services.build(newer)

    assert (rebuilt, newer.row_count) == (2, 3)


def test_a_dataset_that_was_rejected_whole_takes_no_row(load: Load) -> None:
    with pytest.raises(Exception, match="were rejected"):
        load(table(ELISABETH, OLD))
    refused = Dataset.objects.latest()

    with pytest.raises(Conflict, match="no rows that a corrected one could join"):
        corrections.accept(refused.rejected_rows.get(), {})


def downloaded(client: Client, dataset: Dataset) -> list[dict[str, str]]:
    response = client.get(f"/datasets/{dataset.pk}/rejected.csv")
    return list(csv.DictReader(io.StringIO(response.content.decode())))


def sent_back(client: Client, dataset: Dataset, rows: list[dict[str, str]]) -> Any:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
    file = SimpleUploadedFile("corrected.csv", text.getvalue().encode())
    return client.post(f"/datasets/{dataset.pk}/correct/", {"file": file}, follow=True)


def test_a_file_goes_out_and_comes_back_corrected(dataset: Dataset, client: Client) -> None:
    (downloaded_row,) = downloaded(client, dataset)
    assert (downloaded_row["line"], downloaded_row["age"], downloaded_row["name"]) == ("3", "200", OWEN["name"])

    page = sent_back(client, dataset, [{**downloaded_row, "age": "22"}])

    assert "1 rows accepted" in page.content.decode()
    assert Passenger.objects.count() == 3
    assert downloaded(client, dataset) == []


def test_a_formula_survives_the_way_out_and_back(load: Load, client: Client) -> None:
    dataset = load(table({**OLD, "ticket": "=1+1"}, JAMES), largest_problem_share=0.5)
    (downloaded_row,) = downloaded(client, dataset)

    sent_back(client, dataset, [{**downloaded_row, "age": "22"}])

    assert downloaded_row["ticket"] == "'=1+1"
    assert Passenger.objects.get(line_number=2).ticket == "=1+1"


def test_of_a_file_the_good_rows_are_accepted_and_the_others_named(load: Load, client: Client) -> None:
    dataset = load(table(ELISABETH, OLD, {**JAMES, "pclass": 9}), largest_problem_share=0.9)
    first, second = downloaded(client, dataset)

    page = sent_back(client, dataset, [{**first, "age": "22"}, second, {**second, "line": "77"}]).content.decode()

    assert "1 rows accepted" in page
    assert "2 rows are still rejected" in page
    assert Passenger.objects.count() == 2


@pytest.mark.parametrize("data", [b"", b"age\n22\n", b"\xff\xfe1", b'line,age\n1,"2'])
def test_a_file_that_is_none_is_refused_with_a_sentence(dataset: Dataset, client: Client, data: bytes) -> None:
    response = client.post(f"/datasets/{dataset.pk}/correct/", {"file": SimpleUploadedFile("x.csv", data)})

    assert response.status_code == 400
    assert Passenger.objects.count() == 2


class TestPage:
    """One row on its page."""

    def test_it_shows_what_was_wrong_and_what_stood_there(self, dataset: Dataset, client: Client) -> None:
        page = client.get(f"/datasets/{dataset.pk}/lines/3/").content.decode()

        assert "Must be from 0 to 120." in page
        assert 'value="200"' in page

    def test_it_accepts(self, dataset: Dataset, client: Client) -> None:
        cells = {**corrections.cells_of(row(dataset)), "age": "22"}

        response = client.post(f"/datasets/{dataset.pk}/lines/3/", cells)

        assert (response.status_code, Passenger.objects.count()) == (302, 3)

    def test_it_names_the_field_that_is_still_wrong(self, dataset: Dataset, client: Client) -> None:
        cells = {**corrections.cells_of(row(dataset)), "age": "1e999"}

        response = client.post(f"/datasets/{dataset.pk}/lines/3/", cells)

        assert response.status_code == 400
        assert "Must be a finite number" in response.content.decode()

    def test_markup_in_a_cell_is_text(self, load: Load, client: Client) -> None:
        dataset = load(table(*CAST[:2], {**JAMES, "age": -1, "name": "<script>alert(1)</script>"}),
                       largest_problem_share=0.9)  # fmt: skip

        page = client.get(f"/datasets/{dataset.pk}/lines/4/").content.decode()

        assert "<script>alert" not in page
        assert "&lt;script&gt;" in page

    @pytest.mark.parametrize("line", [2, 99, 10**12])
    def test_a_line_that_was_not_rejected_is_not_there(self, dataset: Dataset, client: Client, line: int) -> None:
        assert client.get(f"/datasets/{dataset.pk}/lines/{line}/").status_code == 404

    def test_a_row_of_another_width_can_be_corrected_too(self, load: Load, client: Client) -> None:
        dataset = load(table(ELISABETH, OWEN) + "3,1\n", largest_problem_share=0.5)
        cells = {**corrections.cells_of(dataset.rejected_rows.get()), "pclass": "3", "sex": "male"}

        response = client.post(f"/datasets/{dataset.pk}/lines/4/", cells)

        assert response.status_code == 302
        assert Passenger.objects.get(line_number=4).passenger_id == "3"


class TestRepair:
    """A rejected row's page: which cell is wrong, what it may be, and the way to the next."""

    @pytest.fixture
    def dataset(self, load: Load) -> Dataset:
        wrong = {**JAMES, "pclass": 7, "passenger_id": 9}
        return load(table(ELISABETH, OLD, JAMES, wrong), largest_problem_share=0.9)

    def test_the_wrong_cell_is_marked_with_its_reason(self, dataset: Dataset, client: Client) -> None:
        page = client.get(f"/datasets/{dataset.pk}/lines/3/").text

        marked = [tag for tag in re.findall(r"<(?:input|select)[^>]*>", page) if "aria-invalid" in tag]
        assert [re.findall(r'name="(\w+)"', tag) for tag in marked] == [["age"]]
        assert 'aria-describedby="id_age_reasons"' in marked[0]
        assert "autofocus" in marked[0]
        assert "Must be from 0 to 120." in page.partition('id="id_age_reasons"')[2][:200]

    def test_a_cell_with_choices_offers_them_and_keeps_the_rejected_one(self, dataset: Dataset, client: Client) -> None:
        page = client.get(f"/datasets/{dataset.pk}/lines/5/").text

        options = re.findall(
            r'<option value="(.*?)"( selected)?>', page.partition('id="id_pclass"')[2].split("</select")[0]
        )
        assert options == [("", ""), ("7", " selected"), ("1", ""), ("2", ""), ("3", "")]

    def test_it_leads_to_the_rows_before_and_after_that_are_still_rejected(
        self, dataset: Dataset, client: Client
    ) -> None:
        first, last = (client.get(f"/datasets/{dataset.pk}/lines/{line}/") for line in (3, 5))
        cells = {**corrections.cells_of(row(dataset)), "age": "22"}

        accepted = client.post(f"/datasets/{dataset.pk}/lines/3/", {**cells, "next": "1"})

        assert (first.context["previous"], first.context["next"].line_number) == (None, 5)
        assert (last.context["previous"].line_number, last.context["next"]) == (3, None)
        assert accepted["Location"] == f"/datasets/{dataset.pk}/lines/5/"
        assert client.get(f"/datasets/{dataset.pk}/lines/5/").context["previous"] is None

    def test_rejections_are_counted_by_reason(self, dataset: Dataset, client: Client) -> None:
        page = client.get(dataset.get_absolute_url())

        reasons = {bar.name: bar.share for bar in page.context["reasons"]}
        assert reasons == {"Age: out of range": 1, "Class: not one of the choices": 1}
