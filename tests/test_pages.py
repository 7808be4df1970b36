"""Every page: it opens, within its query budget, full and empty; what changes something wants POST."""

from typing import Any

import pytest
from django.test import Client

from ingestion.models import Dataset
from monitoring import services as monitoring_services
from predictions.models import Prediction, ScoringJob
from tests.people import ELISABETH, OWEN
from training.models import ModelVersion

LISTS = ["/", "/datasets/", "/features/", "/models/", "/runs/", "/predictions/", "/scoring/", "/monitoring/",
         "/monitoring/drift/", "/schedules/", "/accounts/login/", "/monitoring/drift/state/"]  # fmt: skip


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


@pytest.mark.parametrize("url", LISTS)
@pytest.mark.django_db
def test_an_empty_system_has_every_page(client: Client, url: str) -> None:
    assert client.get(url).status_code == 200


@pytest.mark.parametrize("url", LISTS)
def test_a_full_one_too_within_its_query_budget(
    client: Client, champion: ModelVersion, url: str, django_assert_max_num_queries: Any
) -> None:
    client.post("/predict", OWEN)
    with django_assert_max_num_queries(9):
        assert client.get(url).status_code == 200


def test_every_detail_page_opens(client: Client, champion: ModelVersion) -> None:
    check = monitoring_services.queue_check()
    monitoring_services.check_drift(check)
    batch = champion.feature_batch
    things: list[Any] = [champion, batch, batch.dataset, champion.run, check]

    for thing in things:
        assert client.get(thing.get_absolute_url()).status_code == 200


@pytest.mark.parametrize("url", ["/datasets/99/", "/models/99/", "/runs/nothing/1/again/", "/nowhere/"])
@pytest.mark.django_db
def test_what_is_not_there_is_404(client: Client, url: str) -> None:
    assert client.post(url).status_code in (404, 405)
    assert client.get(url).status_code in (404, 405)


@pytest.mark.parametrize(
    "url",
    ["/predict", "/datasets/ingest/", "/features/build/", "/models/train/", "/models/rollback/", "/scoring/start/",
     "/models/1/promote/", "/monitoring/drift/check/", "/pipeline/", "/runs/dataset/1/cancel/"],
)  # fmt: skip
@pytest.mark.django_db
def test_what_changes_something_rejects_get_and_wants_a_token(url: str) -> None:
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)

    assert client.get(url).status_code == 405
    assert client.post(url).status_code == 403


def test_the_form_answers(client: Client, champion: ModelVersion) -> None:
    page = client.post("/predict", {name: "" if value is None else value for name, value in ELISABETH.items()})

    assert page.status_code == 200
    assert "Survived" in page.text
    assert page.context["answer"].model_version == champion.version


def test_the_form_keeps_what_was_typed_and_says_what_to_correct(client: Client, champion: ModelVersion) -> None:
    page = client.post("/predict", {**OWEN, "age": "200"})

    assert page.status_code == 400
    assert "Must be from 0 to 120." in page.text
    assert 'value="200"' in page.text


def test_old_t23_hostile_input_is_shown_as_text_and_refused(client: Client, champion: ModelVersion) -> None:
    page = client.post("/predict", {**OWEN, "name": "<script>alert(1)</script>" * 20})

    assert page.status_code == 400
    assert "<script>alert" not in page.text


def test_old_t15_the_old_form_is_understood_but_not_believed(client: Client, champion: ModelVersion) -> None:
    old = {"Age": 22, "Fare": 7.25, "Pclass": 3, "Sex": 0, "Embarked": 2, "Familysize": 2, "Isalone": 0,
           "HasCabin": 0, "Title": 0, "Pclass_Fare": 21.75, "Age_Fare": 159.5}  # fmt: skip

    answer, refused = client.post("/predict", old), client.post("/predict", {**old, "Isalone": 1})

    ours = client.post("/predict", OWEN)
    assert answer.context["answer"].probability == ours.context["answer"].probability
    assert refused.status_code == 400
    assert "Isalone" in refused.text


def test_without_a_champion_it_says_so(client: Client, transactional_db: None) -> None:
    page = client.post("/predict", OWEN)

    assert page.status_code == 503
    assert "No model is in charge yet" in page.text


@pytest.mark.parametrize("query", ["?before=rubbish", "?before=0", "?model=x&door=y&survived=z", "?before=%00"])
@pytest.mark.parametrize("url", ["/predictions/", "/datasets/", "/runs/", "/models/"])
@pytest.mark.django_db
def test_a_strange_address_is_an_ordinary_page(client: Client, url: str, query: str) -> None:
    assert client.get(url + query).status_code == 200


def test_pages_follow_each_other_without_gap(client: Client, transactional_db: None) -> None:
    for _ in range(51):
        Dataset.objects.create(name="x", uri="x")

    first = client.get("/datasets/").context["page"]
    second = client.get(f"/datasets/?{first.next_page}").context["page"]

    assert len({row.pk for row in [*first.rows, *second.rows]}) == 51
    assert not second.next_page


def test_a_refusal_is_a_page(client: Client, transactional_db: None) -> None:
    page = client.post("/models/train/")

    assert page.status_code == 409
    assert "build one first" in page.text


def test_pages_are_served_with_a_strict_policy(client: Client, transactional_db: None) -> None:
    policy = client.get("/").headers["Content-Security-Policy"]

    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


def test_the_admin_has_every_model(champion: ModelVersion, django_user_model: Any) -> None:
    from django.contrib import admin

    admin_client = Client()
    admin_client.force_login(django_user_model.objects.get(username="admin"))

    Prediction.objects.all().delete()
    ScoringJob.objects.create(name="x", upload="x.csv")
    for model in admin.site._registry:
        page = admin_client.get(f"/admin/{model._meta.app_label}/{model._meta.model_name}/")
        assert page.status_code == 200, model
