"""Archiving: rows go by rule, never those that something living stands on."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client

import features.services
from core.errors import Conflict
from ingestion import retention, services, sources
from ingestion.models import Dataset, Passenger, Source
from tests.people import ELISABETH, OWEN, table
from training.models import ModelVersion


@pytest.fixture
def three(db: None, inbox: Path) -> list[Dataset]:
    """Three versions of one file, of which the source keeps one."""
    file = inbox / "people.csv"
    source = Source(name="test", uri=str(file), keep_count=1)
    sources.save(source, every=timedelta(hours=1), is_enabled=True)
    for count in range(1, 4):
        file.write_text(table(*[{**OWEN, "ticket": str(number)} for number in range(count)]))
        for dataset in services.queue_changed(source):
            services.ingest(dataset)
    return list(Dataset.objects.order_by("pk"))


def test_the_rule_keeps_the_newest(three: list[Dataset]) -> None:
    archived = retention.archive_old()

    assert sorted(dataset.pk for dataset in archived) == [dataset.pk for dataset in three[:2]]
    assert set(Passenger.objects.values_list("dataset", flat=True)) == {three[2].pk}


def test_profile_and_lineage_stay(three: list[Dataset], client: Client) -> None:
    retention.archive(three[0])

    three[0].refresh_from_db()
    page = client.get(three[0].get_absolute_url()).content.decode()
    assert three[0].profile["age"]["count"] == 1
    assert three[0].sha256 in page
    assert "Archived" in page


def test_the_current_features_keep_theirs(three: list[Dataset]) -> None:
    features.services.build(features.services.queue_build(dataset=three[0]))

    archived = retention.archive_old()

    assert archived == [three[1]]
    with pytest.raises(Conflict, match="stays"):
        retention.archive(three[0])


def test_a_model_in_use_keeps_its(champion: ModelVersion) -> None:
    with pytest.raises(Conflict, match="stays"):
        retention.archive(champion.feature_batch.dataset)


def test_of_an_archived_dataset_no_features_are_built(three: list[Dataset]) -> None:
    retention.archive(three[0])
    three[0].refresh_from_db()

    with pytest.raises(Conflict, match="are archived"):
        features.services.queue_build(dataset=three[0])


def test_archiving_twice_is_refused_with_a_sentence(three: list[Dataset], client: Client) -> None:
    first = client.post(f"/datasets/{three[0].pk}/archive/")
    second = client.post(f"/datasets/{three[0].pk}/archive/")

    assert (first.status_code, second.status_code) == (302, 409)


def test_an_archived_version_is_not_fetched_again(three: list[Dataset]) -> None:
    newest = three[2]
    retention.archive(newest)

    assert newest.source is not None
    assert list(services.queue_changed(newest.source)) == []


def test_without_a_rule_everything_stays(load: Callable[..., Dataset]) -> None:
    load(table(ELISABETH))

    assert retention.archive_old() == []
    assert Passenger.objects.count() == 1


def test_a_build_that_waits_keeps_its_rows(three: list[Dataset]) -> None:
    features.services.queue_build(dataset=three[0])

    with pytest.raises(Conflict, match="stays"):
        retention.archive(three[0])
