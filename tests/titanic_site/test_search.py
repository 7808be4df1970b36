"""Search: what people know of a row leads to it, by indexes alone; what nobody may see is not found."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from predictions.models import Prediction, ScoringJob
from tests.people import OWEN
from tests.rows import one_of_each
from tests.users import make_user
from training.models import ModelVersion


@pytest.fixture
def rows(db: None) -> dict[type[Any], Any]:
    return one_of_each(User.objects.create_superuser("captain"))


def found(text: str | bytes, client: Client | None = None) -> list[str]:
    """The addresses of the hits, in order; where it leads to, if that is one."""
    page = (client or Client()).get("/search/", {"q": text})
    if page.status_code == 302:
        return [page["Location"]]
    assert page.status_code == 200, page
    return [hit.row.get_absolute_url() for _title, hits in page.context["groups"] for hit in hits]


def test_the_only_row_that_the_text_names_is_opened(rows: dict[type[Any], Any], client: Client) -> None:
    prediction, version = rows[Prediction], rows[ModelVersion]

    for text in (str(prediction.pk), prediction.pk.hex.upper()):
        assert client.get("/search/", {"q": text})["Location"] == prediction.get_absolute_url()
    assert client.get("/search/", {"q": " model 1 "})["Location"] == version.get_absolute_url()
    run = version.run
    assert client.get("/search/", {"q": str(run)})["Location"] == run.get_absolute_url()


def test_a_number_a_tag_a_note_a_name_a_beginning_and_a_reference_are_found(rows: dict[type[Any], Any]) -> None:
    prediction, version, scoring = rows[Prediction], rows[ModelVersion], rows[ScoringJob]
    Prediction.objects.filter(pk=prediction.pk).update(reference="cabin 100% of B5")
    ModelVersion.objects.update(tags=["night shift"], notes="Of the iceberg’s week.")

    address = prediction.get_absolute_url()
    assert version.get_absolute_url() in found("1")
    assert found("night shift") == found("ICEBERG") == [version.get_absolute_url()]
    assert scoring.get_absolute_url() in found(str(scoring.pk))
    assert rows[type(version.feature_batch.dataset)].get_absolute_url() in found("x")
    assert found(str(prediction.pk)[:11]) == found("cabin 100% of B5") == [address]
    assert found("cabin") == found("%") == found("night") == found("swordfish") == []


def test_nobody_finds_what_they_may_not_see(rows: dict[type[Any], Any], settings: Any) -> None:
    settings.LOGIN_REQUIRED = True
    scoring, secret = rows[ScoringJob], Client()
    ScoringJob.objects.update(created_by=rows[User], is_owned=True)
    secret.force_login(make_user("lookout", role="viewer"))

    assert scoring.get_absolute_url() not in found(str(scoring.pk), secret)
    # The address of a source in a database has a password.
    assert found("postgresql", secret) == []
    assert Client().get("/search/?q=1")["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize("text", ["a" * 10_000, "x\0y", b"\xff\xfe"])
@pytest.mark.django_db
def test_what_cannot_be_searched_gets_a_sentence(text: str | bytes, client: Client) -> None:
    page = client.get("/search/", {"q": text})

    assert page.status_code == (200 if isinstance(text, bytes) else 400)
    assert ('role="alert"' in page.text) == (page.status_code == 400)
    assert "Search for a model" in page.text


@pytest.mark.django_db
def test_hostile_texts_find_nothing(client: Client) -> None:
    for text in ("%", "_", "'; DROP TABLE--", "<script>", "٣", "9" * 40, "f" * 32, "\u202e", "👩‍✈️", "0", "-" * 90):
        assert found(text) == [], text
    assert "<script>" not in client.get("/search/", {"q": "<script>"}).text.split("<main")[1]


def test_the_log_is_read_by_its_indexes(champion: ModelVersion) -> None:
    answer = {"model_version": 1, "probability": 0.5, "predicted": True, "threshold": 0.5, "created_at": timezone.now()}
    Prediction.objects.bulk_create(Prediction(source="api", reference=str(n), **answer, **OWEN) for n in range(20))
    prediction = Prediction.objects.first()
    assert prediction
    with connection.cursor() as cursor:
        # Months without rows would be read whole at no cost.
        cursor.execute("SET LOCAL enable_seqscan = off")

    for text in (str(prediction.pk)[:20], prediction.reference):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            found(text or "")
        asked = [query["sql"] for query in queries if 'FROM "predictions_prediction"' in query["sql"]]
        assert asked
        for sql in asked:
            with connection.cursor() as cursor:
                cursor.execute("EXPLAIN " + sql.replace("%", "%%"))
                assert "Seq Scan" not in "\n".join(line for (line,) in cursor.fetchall()), sql
    assert len(queries) < 20
