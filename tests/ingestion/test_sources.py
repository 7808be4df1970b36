"""Sources: looked at on schedule, each version of an object loaded once, all the way to the gate's verdict."""

import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from google.cloud import storage

from core.errors import TitanicError
from core.jobs import State
from features.models import FeatureBatch
from ingestion import services, sources
from ingestion.models import Dataset, Source
from tests.people import ELISABETH, HEADER, JAMES, OWEN, csv_line, table
from titanic_site import pipeline
from titanic_site.celery import app
from training.models import ModelVersion

pytestmark = pytest.mark.django_db


def make_source(uri: str, **options: Any) -> Source:
    source = Source(name="test", uri=uri, **{"has_label": False, **options})
    sources.save(source, every=timedelta(hours=1), is_enabled=True)
    return source


def run_schedule(source: Source) -> None:
    """What the clock sends, done by the task that it names."""
    app.loader.import_default_modules()
    assert source.schedule is not None
    app.tasks[source.schedule.task](**json.loads(source.schedule.kwargs))


def row_counts() -> list[int | None]:
    return list(Dataset.objects.order_by("pk").values_list("row_count", flat=True))


def test_each_generation_of_an_object_is_loaded_once(ship: storage.Bucket) -> None:
    source = make_source("gs://ship/people.csv")
    ship.blob("people.csv").upload_from_string(table(OWEN))

    run_schedule(source)
    run_schedule(source)
    first = row_counts()
    ship.blob("people.csv").upload_from_string(table(OWEN, JAMES))
    run_schedule(source)
    run_schedule(source)

    assert first == [1]
    assert row_counts() == [1, 2]
    assert Dataset.objects.latest().version != Dataset.objects.earliest().version
    assert Dataset.objects.succeeded().count() == 2


def test_an_unchanged_object_costs_one_call(ship: storage.Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source("gs://ship/people.csv")
    ship.blob("people.csv").upload_from_string(table(OWEN))
    run_schedule(source)
    calls = []
    send = storage._http.Connection.api_request
    monkeypatch.setattr(
        storage._http.Connection, "api_request", lambda self, **call: calls.append(call) or send(self, **call)
    )

    run_schedule(source)

    assert len(calls) == 1
    assert row_counts() == [1]


def test_the_same_bytes_under_a_new_generation_make_no_second_dataset(ship: storage.Bucket) -> None:
    source = make_source("gs://ship/people.csv")
    for _ in range(2):
        ship.blob("people.csv").upload_from_string(table(OWEN))
        run_schedule(source)

    assert row_counts() == [1]


def test_of_a_prefix_every_object_is_loaded(ship: storage.Bucket) -> None:
    source = make_source("gs://ship/2026/*")
    ship.blob("2026/a.csv").upload_from_string(table(OWEN))
    ship.blob("2026/b.csv").upload_from_string(table(OWEN, JAMES))
    ship.blob("elsewhere.csv").upload_from_string(table(ELISABETH))

    run_schedule(source)

    assert row_counts() == [1, 2]
    assert list(Dataset.objects.order_by("pk").values_list("name", flat=True)) == ["a.csv", "b.csv"]


def test_a_new_table_on_schedule_leads_to_a_verdict_without_a_hand(ship: storage.Bucket, sample: str) -> None:
    source = make_source("gs://ship/titanic.csv", has_label=True)
    ship.blob("titanic.csv").upload_from_string(sample)

    run_schedule(source)

    version = ModelVersion.objects.get()
    assert FeatureBatch.objects.get(is_current=True).dataset.source == source
    assert version.feature_batch.dataset.row_count == 1309
    assert version.gate is not None
    assert version.stage == "champion"


def test_a_table_that_the_contract_refused_is_not_fetched_again_on_the_same_terms(ship: storage.Bucket) -> None:
    source = make_source("gs://ship/people.csv")
    ship.blob("people.csv").upload_from_string(table({**OWEN, "age": -1}))
    run_schedule(source)
    run_schedule(source)
    refused = Dataset.objects.count()

    ship.blob("people.csv").upload_from_string(table({**OWEN, "age": -1}, JAMES))
    source.largest_problem_share = 0.5
    sources.save(source, every=None, is_enabled=True)
    run_schedule(source)

    assert refused == 1
    assert [dataset.state for dataset in Dataset.objects.order_by("pk")] == [State.FAILED, State.SUCCEEDED]


def test_what_cannot_be_seen_stands_on_the_source(ship: storage.Bucket) -> None:
    source = make_source("gs://ship/nowhere.csv")

    with pytest.raises(TitanicError):
        run_schedule(source)

    source.refresh_from_db()
    assert "nowhere.csv" in str(source.error)
    assert source.checked_at is not None
    assert not Dataset.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_workers_on_one_source_one_wins(ship: storage.Bucket) -> None:
    source = make_source("gs://ship/people.csv")
    lines = [csv_line(number, OWEN) for number in range(1, 5000)]
    ship.blob("people.csv").upload_from_string("\n".join([HEADER, *lines, ""]))
    barrier = threading.Barrier(2)

    def work() -> None:
        barrier.wait()
        pipeline.fetch(Source.objects.get(pk=source.pk))
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert row_counts() == [4999]
    assert Dataset.objects.get().state == State.SUCCEEDED


def test_a_column_may_have_another_heading(ship: storage.Bucket) -> None:
    source = make_source("gs://ship/people.csv", headings={"pclass": "Ticket class", "sex": "gender"})
    text = table(OWEN).replace("Pclass", "Ticket Class").replace("Sex", "Gender")
    ship.blob("people.csv").upload_from_string(text)

    run_schedule(source)

    assert row_counts() == [1]


def test_one_that_is_loaded_by_hand_is_loaded_again() -> None:
    source = sources.default()
    for _ in range(2):
        services.ingest(services.queue_source(source))

    assert row_counts() == [1309, 1309]
    assert list(services.queue_changed(source)) == []


def test_a_source_goes_with_its_schedule_and_leaves_its_datasets() -> None:
    source = sources.default()
    services.ingest(services.queue_source(source))
    schedule = source.schedule
    assert schedule is not None

    sources.remove(source)

    assert not type(schedule).objects.filter(pk=schedule.pk).exists()
    assert Dataset.objects.get().source is None
