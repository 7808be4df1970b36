"""Sources on the page and in the admin: what may be named where, and what is told."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from core.errors import TitanicError
from ingestion import services, sources
from ingestion.models import Dataset, Source
from tests.people import OWEN, table
from tests.users import make_user

pytestmark = pytest.mark.django_db

DATABASE = "postgresql://ann:secret@db.example/ship#passengers"


@pytest.fixture(autouse=True)
def _people(inbox: Path) -> None:
    """One table in the inbox."""
    (inbox / "people.csv").write_text(table(OWEN))


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

    address = f"/datasets/sources/{source.pk}/"
    pages = [client.get("/datasets/").content.decode(), admin_client.get(address).content.decode()]
    admin_client.post(address, form(uri="postgresql://ann@db.example/ship#passengers"))

    assert all("secret" not in page and "ann@db.example" in page for page in pages)
    assert Source.objects.get().uri == DATABASE
    assert "secret" not in admin_client.get("/admin/ingestion/source/").content.decode()


@pytest.mark.ignore_template_errors  # the theme has its own ways
def test_an_administrator_names_a_database_in_the_admin(admin_client: Client) -> None:
    response = admin_client.post("/admin/ingestion/source/add/", form(uri=DATABASE))

    assert response.status_code == 302
    assert Source.objects.get().schedule is not None


@pytest.mark.ignore_template_errors  # the theme has its own ways
def test_an_operator_names_no_database_and_changes_none(client: Client) -> None:
    client.force_login(make_user("operator", is_staff=True))
    source = Source(name="database", uri=DATABASE)
    sources.save(source, every=None, is_enabled=False)
    in_admin, on_page = f"/admin/ingestion/source/{source.pk}/", f"/datasets/sources/{source.pk}/"

    added = client.post("/admin/ingestion/source/add/", form(uri=DATABASE))
    shown = client.get(f"{in_admin}change/")
    answers = [
        client.post(f"{in_admin}change/", form(uri="people.csv")),
        client.post(f"{in_admin}delete/", {"post": "yes"}),
        client.post(
            "/admin/ingestion/source/", {"action": "delete_selected", "_selected_action": source.pk, "post": 1}
        ),
        client.get(on_page),
        client.post(on_page, form(name="mine")),
        client.post(f"{on_page}remove/"),
    ]
    assert source.schedule is not None
    schedules, interval = "/admin/django_celery_beat/periodictask/", source.schedule.interval
    answers += [
        client.post(f"{schedules}{source.schedule.pk}/delete/", {"post": "yes"}),
        client.post(f"{schedules}{source.schedule.pk}/change/", {"name": "mine"}),
        client.post(f"/admin/django_celery_beat/intervalschedule/{interval.pk}/delete/", {"post": "yes"}),
        *(
            client.post(
                schedules, {"action": action, "_selected_action": source.schedule.pk, "post": "yes", "confirmed": "yes"}
            )
            for action in ("delete_selected", "enable_tasks", "disable_tasks", "toggle_tasks")
        ),
    ]

    assert "by an administrator" in added.content.decode()
    assert "ann@db.example" in shown.content.decode()
    assert "secret" not in shown.content.decode()
    assert [answer.status_code for answer in answers] == [403] * 13
    source.schedule.refresh_from_db()
    assert not source.schedule.enabled
    assert f'href="{on_page}"' not in client.get("/datasets/").content.decode()
    assert list(Source.objects.values_list("name", "uri")) == [("database", DATABASE)]
    assert client.post("/admin/ingestion/source/add/", form()).status_code == 302


@pytest.mark.ignore_template_errors  # the theme has its own ways
@pytest.mark.parametrize("uri", ["/etc/passwd", "../credentials.json"])
def test_no_role_names_a_file_outside_the_inbox(admin_client: Client, uri: str) -> None:
    response = admin_client.post("/admin/ingestion/source/add/", form(uri=uri))

    assert "outside the allowed folder" in response.content.decode()
    assert not Source.objects.exists()


@pytest.mark.ignore_template_errors  # the theme has its own ways
def test_the_products_own_database_is_not_loaded(admin_client: Client) -> None:
    query = 'SELECT id AS "PassengerId", password AS "Name", 3 AS "Pclass", \'male\' AS "Sex" FROM auth_user'
    place = settings.DATABASES["default"]
    admin_client.post(
        "/admin/ingestion/source/add/",
        form(uri=f"postgresql://titanic@/{place['NAME']}?host={place['HOST']}#{query}", largest_problem_share=1),
    )
    source = Source.objects.get()

    admin_client.post(
        "/admin/ingestion/source/", {"action": "ingest_now", "_selected_action": source.pk, "confirmed": "yes"}
    )
    dataset = Dataset.objects.get()
    with pytest.raises(TitanicError, match="own database"):
        services.ingest(dataset)
    with pytest.raises(TitanicError, match="own database"):
        list(services.queue_changed(source))

    page = admin_client.get(dataset.get_absolute_url()).content.decode()
    assert "own database, which is no source" in page
    assert "pbkdf2" not in page


def test_a_file_that_was_named_before_is_not_read_on_schedule(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(table(OWEN))
    source = Source(name="old", uri=str(tmp_path / "people.csv"))
    sources.save(source, every=None, is_enabled=True)

    with pytest.raises(TitanicError, match="outside the allowed folder"):
        list(services.queue_changed(source))
    with pytest.raises(TitanicError, match="outside the allowed folder"):
        services.ingest(services.queue_source(source))


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
