"""Sources on the page and in the admin: what may be named where, and what is told."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from ingestion import sources
from ingestion.models import Dataset, Source
from ingestion.transports import local
from tests.people import OWEN, table

pytestmark = pytest.mark.django_db

DATABASE = "postgresql://ann:secret@db.example/ship#passengers"


@pytest.fixture
def inbox() -> Path:
    """The inbox, with one table in it."""
    local.inbox().mkdir(parents=True, exist_ok=True)
    (local.inbox() / "people.csv").write_text(table(OWEN))
    return local.inbox()


def form(**fields: Any) -> dict[str, Any]:
    return {
        "name": "test", "uri": "people.csv", "every": 60, "is_enabled": "on", "largest_problem_share": 0.1,
        "largest_missing_share": 1, "headings": "", **fields,
    }  # fmt: skip


def test_a_source_is_added_with_its_schedule(client: Client, inbox: Path) -> None:
    response = client.post("/datasets/sources/", form(headings='{"pclass": "Ticket class"}', keep_count=3))

    source = Source.objects.get(name="test")
    assert response.status_code == 302
    assert source.uri == str(inbox / "people.csv")
    assert source.schedule.interval.schedule.run_every.total_seconds() == 3600
    assert (source.headings, source.keep_count, source.is_enabled) == ({"pclass": "Ticket class"}, 3, True)


def test_it_is_turned_off_and_looked_at_less_often(client: Client, inbox: Path) -> None:
    client.post("/datasets/sources/", form())
    source = Source.objects.get()

    client.post(f"/datasets/sources/{source.pk}/", {**form(every=1440), "is_enabled": ""})

    source = Source.objects.get()
    assert not source.is_enabled
    assert source.schedule.interval.schedule.run_every.total_seconds() == 86400


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"uri": "/etc/passwd"}, "outside the allowed folder"),
        ({"uri": "../credentials.json"}, "outside the allowed folder"),
        ({"uri": "missing.csv"}, "There is no file"),
        ({"uri": "file:///etc/passwd"}, "without file://"),
        ({"uri": "ftp://a/b"}, "is no address this system reads"),
        ({"uri": DATABASE}, "admin"),
        ({"uri": "gs://bucket"}, "gs://"),
        ({"uri": ""}, "required"),
        ({"uri": "x" * 2000}, "at most"),
        ({"headings": '{"shoe size": "x"}'}, "There is no column shoe size"),
        ({"headings": "[1]"}, "Give an object"),
        ({"headings": "{"}, "valid JSON"),
        ({"largest_problem_share": 7}, "less than or equal to 1"),
        ({"largest_problem_share": "nan"}, "number"),
        ({"keep_count": 0}, "greater than or equal to 1"),
        ({"every": "7"}, "valid choice"),
    ],
)
def test_what_cannot_be_is_refused_with_the_field_named(
    client: Client, inbox: Path, fields: dict[str, Any], sentence: str
) -> None:
    response = client.post("/datasets/sources/", form(**fields))

    assert response.status_code == 400
    assert sentence in response.content.decode()
    assert not Source.objects.exists()


def test_a_name_is_there_once(client: Client, inbox: Path) -> None:
    client.post("/datasets/sources/", form())

    response = client.post("/datasets/sources/", form())

    assert response.status_code == 400
    assert "already exists" in response.content.decode()


@pytest.mark.ignore_template_errors  # the theme has its own ways
def test_a_password_is_neither_shown_nor_lost(client: Client, admin_client: Client) -> None:
    source = Source(name="test", uri=DATABASE)
    sources.save(source, every=None, is_enabled=False)

    pages = [client.get(url).content.decode() for url in ("/datasets/", f"/datasets/sources/{source.pk}/")]
    client.post(f"/datasets/sources/{source.pk}/", form(uri="postgresql://ann@db.example/ship#passengers"))

    assert all("secret" not in page and "ann@db.example" in page for page in pages)
    assert Source.objects.get().uri == DATABASE
    assert "secret" not in admin_client.get("/admin/ingestion/source/").content.decode()


@pytest.mark.ignore_template_errors  # the theme has its own ways
def test_the_admin_names_any_address(admin_client: Client) -> None:
    response = admin_client.post("/admin/ingestion/source/add/", form(uri=DATABASE))

    assert response.status_code == 302
    assert Source.objects.get().schedule is not None


@pytest.mark.ignore_template_errors  # the theme has its own ways
def test_the_admin_removes_the_schedule_with_the_source(admin_client: Client, inbox: Path) -> None:
    source = sources.default()
    schedule = source.schedule

    admin_client.post("/admin/ingestion/source/", {"action": "delete_selected", "_selected_action": source.pk,
                                                   "post": "yes"})  # fmt: skip

    assert not Source.objects.exists()
    assert not type(schedule).objects.filter(pk=schedule.pk).exists()


def test_load_now_queues_a_dataset_of_the_source(client: Client, inbox: Path) -> None:
    source = sources.default()

    response = client.post(f"/datasets/sources/{source.pk}/ingest/")

    assert response.status_code == 302
    assert (Dataset.objects.get().source, Dataset.objects.get().uri) == (source, settings.SOURCE_URI)


def test_a_source_that_is_removed_on_the_page_is_gone(client: Client) -> None:
    source = sources.default()

    assert client.post(f"/datasets/sources/{source.pk}/remove/").status_code == 302
    assert not Source.objects.exists()
    assert client.get(f"/datasets/sources/{source.pk}/").status_code == 404
