"""The API as it is promised: shapes, refusals by field, and no door without a token."""

import base64
import uuid
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, override_settings
from rest_framework.test import APIClient

from core import redis
from features.definition import FEATURES
from ingestion import services as ingestion_services
from ingestion.models import Dataset
from predictions import log, scoring
from predictions.log import stream
from predictions.models import Prediction, ScoringJob
from tests.people import CAST, ELISABETH, NOBODY, OWEN, table
from tests.users import make_user
from titanic_site.models import AccessToken
from training.models import ModelVersion

URL = "/api/v1/predictions/"


def test_one_passenger_is_answered_in_the_documented_shape(api: APIClient, champion: ModelVersion) -> None:
    response = api.post(URL, ELISABETH, format="json")

    assert response.status_code == 201
    assert set(response.json()) == {
        "id", "survived", "probability", "threshold", "model_version", "features", "created_at", "reference", "drift",
    }  # fmt: skip
    assert tuple(response.json()["features"]) == FEATURES
    assert response.json()["model_version"] == champion.version
    assert response.json()["survived"] is (response.json()["probability"] >= response.json()["threshold"])


def test_what_was_answered_is_in_postgres_after_the_drain(api: APIClient, champion: ModelVersion) -> None:
    answer = api.post(URL, ELISABETH, format="json").json()

    assert log.drain() == 1

    row = Prediction.objects.get(pk=answer["id"])
    assert (row.probability, row.source, row.name) == (answer["probability"], "api", ELISABETH["name"])


def test_it_can_be_looked_up_before_the_drain_too(api: APIClient, champion: ModelVersion) -> None:
    answer = api.post(URL, ELISABETH, format="json").json()

    found = api.get(f"{URL}{answer['id']}/").json()

    assert found["probability"] == answer["probability"]
    assert found["features"] == answer["features"]


@pytest.mark.parametrize(
    "position", ["x", "", "1e5", "-1", "9" * 40, "\x00", "é", "00000000-0000-0000-0000-00000000000g"]
)
@pytest.mark.parametrize("url", [URL, "/api/v1/datasets/", "/api/v1/models/", "/api/v1/alerts/"])
def test_a_cursor_that_somebody_made_up_is_no_page(
    api: APIClient, champion: ModelVersion, url: str, position: str
) -> None:
    cursor = base64.b64encode(urlencode({"p": position}).encode()).decode()

    assert api.get(url, {"cursor": cursor}).status_code in (200, 404)
    assert api.get(url, {"cursor": base64.b64encode(b"p=x").decode()}).status_code == 404


def test_a_batch_keeps_the_order(api: APIClient, champion: ModelVersion) -> None:
    alone = [api.post(URL, person, format="json").json()["probability"] for person in CAST]

    together = api.post(f"{URL}batch/", {"instances": CAST}, format="json")

    assert together.status_code == 200
    assert [answer["probability"] for answer in together.json()["predictions"]] == alone


def test_one_bad_instance_refuses_all_and_is_named(api: APIClient, champion: ModelVersion) -> None:
    response = api.post(f"{URL}batch/", {"instances": [OWEN, {**OWEN, "age": -1}]}, format="json")

    assert response.status_code == 400
    assert response.json()["errors"][0]["attr"] == "instances.1.age"
    assert log.backlog() == 0


def test_a_batch_that_is_too_long_is_413(api: APIClient, champion: ModelVersion) -> None:
    assert api.post(f"{URL}batch/", {"instances": [NOBODY] * 10_001}, format="json").status_code == 413


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({}, "pclass"), ({"pclass": 4, "sex": "male"}, "pclass"), ({"pclass": 1, "sex": 7}, "sex"),
        ({**NOBODY, "age": -5}, "age"), ({**NOBODY, "title": 42}, "title"), ({**NOBODY, "Survived": 1}, "Survived"),
        ({**NOBODY, "sex": "male", "title": "Mrs"}, "sex"), ({**NOBODY, "sibsp": 10**22}, "sibsp"),
    ],
)  # fmt: skip
def test_wrong_input_is_400_with_the_field_named(
    api: APIClient, champion: ModelVersion, body: dict[str, Any], attr: str
) -> None:
    response = api.post(URL, body, format="json")

    assert response.status_code == 400
    assert response.json()["type"] == "validation_error"
    assert response.json()["errors"][0]["attr"] == attr


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b'{"pclass": NaN, "sex": "male"}',
        b"[" * 100_000,
        b'{"a": 1e999}',
    ],
)
def test_a_body_that_is_none_is_400_without_a_traceback(api: APIClient, champion: ModelVersion, body: bytes) -> None:
    for url in (URL, f"{URL}batch/"):
        response = api.generic("POST", url, body, content_type="application/json")

        assert response.status_code == 400, response.content
        assert response.json()["errors"]


@pytest.mark.parametrize(
    "url",
    ["predictions/", "datasets/", "feature-batches/", "features/1/", "models/", "training-runs/", "scoring-jobs/",
     "drift-checks/", "performance-checks/", "runs/"],
)  # fmt: skip
def test_old_s37_every_door_wants_a_token(url: str, db: None) -> None:
    client = APIClient()

    assert client.get(f"/api/v1/{url}").status_code == 401
    assert client.get(f"/api/v1/{url}", HTTP_AUTHORIZATION="Token nonsense").status_code == 401


def test_a_token_is_kept_as_a_hash(django_user_model: Any, db: None) -> None:
    _, token = AccessToken.objects.create(make_user("x"))

    assert token not in str(AccessToken.objects.values().get())


@pytest.mark.parametrize(
    "url", ["predictions/", "datasets/", "feature-batches/", "models/", "training-runs/", "scoring-jobs/",
            "drift-checks/", "performance-checks/", "runs/"],
)  # fmt: skip
def test_lists_come_in_pages(api: APIClient, champion: ModelVersion, url: str) -> None:
    response = api.get(f"/api/v1/{url}?page_size=1")

    assert response.status_code == 200
    assert set(response.json()) == {"next", "previous", "results"}


def test_all_runs_can_be_walked_through(api: APIClient, champion: ModelVersion) -> None:
    url, seen = "/api/v1/runs/?page_size=1", []
    while url:
        page = api.get(url).json()
        seen += [(run["kind"], run["id"]) for run in page["results"]]
        url = page["next"]

    assert sorted(kind for kind, _ in seen) == ["dataset", "featurebatch", "trainingrun"]


@pytest.mark.parametrize("query", ["model=x", "survived=maybe", "since=yesterday"])
def test_a_filter_that_cannot_be_read_is_named(api: APIClient, query: str) -> None:
    response = api.get(f"{URL}?{query}")

    assert response.status_code == 400
    assert response.json()["errors"][0]["attr"] == query.split("=", maxsplit=1)[0]


def test_an_ingest_is_accepted_and_can_be_watched(api: APIClient) -> None:
    file = SimpleUploadedFile("people.csv", table(*CAST[:3]).encode())

    response = api.post("/api/v1/datasets/", {"file": file}, format="multipart")

    assert response.status_code == 202
    assert response.json()["state"] == "queued"
    ingestion_services.ingest(Dataset.objects.get(pk=response.json()["id"]))
    watched = api.get(response.headers["Location"]).json()
    assert (watched["state"], watched["row_count"], watched["progress"]) == ("succeeded", 3, 1)


@pytest.mark.parametrize("body", [{}, {"uri": "/etc/passwd"}, {"uri": "x.csv", "colour": "red"}, {"uri": "\0"}])
def test_an_ingest_of_what_may_not_be_named_is_refused(api: APIClient, body: dict[str, str]) -> None:
    assert api.post("/api/v1/datasets/", body, format="json").status_code == 400
    assert not Dataset.objects.exists()


def test_a_file_is_scored_row_by_row(api: APIClient, champion: ModelVersion) -> None:
    text = table(ELISABETH, {**OWEN, "age": 200}, {**OWEN, "name": "=cmd, Mr. X"}) + "1,2\n"
    response = api.post(
        "/api/v1/scoring-jobs/", {"file": SimpleUploadedFile("x.csv", text.encode())}, format="multipart"
    )
    assert response.status_code == 202
    waiting = api.get(f"/api/v1/scoring-jobs/{response.json()['id']}/results.csv")
    job = ScoringJob.objects.get(pk=response.json()["id"])

    scoring.score(job)

    assert waiting.status_code == 409
    found = api.get(f"/api/v1/scoring-jobs/{job.pk}/results.csv", headers={"Accept": "text/csv"})
    lines = b"".join(found).decode().splitlines()
    assert lines[0].endswith("Embarked,predicted_probability,predicted_survived,model_version,prediction_id,error")
    assert ",1,1,0" in lines[1]
    assert "age: Must be from 0 to 120." in lines[2]
    assert "'=cmd" in lines[3]
    assert "another number of cells" in lines[4]
    assert Prediction.objects.filter(scoring_job_id=job.pk).count() == 2


def test_models_can_be_fetched(api: APIClient, champion: ModelVersion) -> None:
    found = api.get("/api/v1/models/1/").json()
    onnx = api.get("/api/v1/models/1/artifact/?format=onnx")

    assert (found["version"], found["stage"], found["sha256"]) == (1, "champion", champion.sha256)
    assert b"".join(onnx)
    assert api.get("/api/v1/models/1/artifact/?format=exe").status_code == 400
    assert api.post("/api/v1/models/1/promote/", {}, format="json").status_code == 409
    assert api.post("/api/v1/models/rollback/").status_code == 409


def test_a_training_is_accepted(api: APIClient, champion: ModelVersion) -> None:
    assert api.post("/api/v1/training-runs/", {}, format="json").status_code == 202
    assert api.post("/api/v1/training-runs/", {"feature_batch": 99}, format="json").status_code == 404


def test_a_passenger_in_the_store(api: APIClient, champion: ModelVersion) -> None:
    assert set(api.get("/api/v1/features/1/").json()) == {*FEATURES, "batch", "dataset", "created_at"}
    assert api.get("/api/v1/features/nobody/").status_code == 404
    assert api.get(f"{URL}{uuid.uuid4()}/").status_code == 404


def test_the_schema_describes_the_passenger(api: APIClient) -> None:
    schema = api.get("/api/v1/schema/?format=json", HTTP_ACCEPT="application/vnd.oai.openapi+json").json()

    body = schema["paths"]["/api/v1/predictions/"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["pclass", "sex"]
    assert body["properties"]["pclass"]["anyOf"][0]["enum"] == [1, 2, 3]


class TestAway:
    """What a client gets while a service is away."""

    def test_without_redis_the_row_goes_straight_into_postgres(
        self, api: APIClient, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with _redis_away(monkeypatch):
            response = api.post(URL, ELISABETH, format="json")

        assert response.status_code == 201
        assert Prediction.objects.filter(pk=response.json()["id"]).exists()

    def test_a_redelivered_entry_lands_once(self, api: APIClient, champion: ModelVersion) -> None:
        api.post(URL, ELISABETH, format="json")
        ((_, fields),) = redis.client().xrange(stream.STREAM)  # type: ignore[misc]
        redis.client().xadd(stream.STREAM, fields)

        log.drain()
        log.drain()

        assert Prediction.objects.count() == 1
        assert log.backlog() == 0


class _redis_away:  # noqa: N801 - reads as a function
    """A Redis address behind which nobody listens: a real refusal, not a pretended one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch

    def __enter__(self) -> None:
        self._patch.setattr("django.conf.settings.REDIS_URL", "redis://127.0.0.1:1/0")
        redis.client.cache_clear()

    def __exit__(self, *_: object) -> None:
        self._patch.undo()
        redis.client.cache_clear()


@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_an_address_that_is_none_is_refused_in_json(api: APIClient, method: str) -> None:
    response = getattr(api, method)("/api/v1/nothing/")

    assert response.status_code == 404
    assert response.json()["errors"][0]["code"] == "not_found"


def test_an_address_that_only_lacks_its_slash_is_served(api: APIClient, champion: ModelVersion) -> None:
    assert api.get("/api/v1/models").json()["results"][0]["version"] == champion.version
    assert api.post(URL.rstrip("/"), OWEN, format="json").status_code == 201
    started = api.post("/api/v1/training-runs", {}, format="json")
    assert started["Location"].endswith(f"/api/v1/training-runs/{started.json()['id']}/")
    assert api.post("/api/v1/nothing", {}, format="json").json()["errors"][0]["code"] == "not_found"
    assert api.post("/api/v1/models/reigns", {}, format="json").status_code == 308


def test_no_redirect_turns_a_post_into_a_get(client: Client, db: None) -> None:
    page = client.post("/predictions/erase", {"field": "name"})

    assert (page.status_code, page["Location"]) == (308, "/predictions/erase/")
    assert client.get("/predictions/erase").status_code == 301
    with override_settings(SECURE_SSL_REDIRECT=True):
        secure = Client().post("/predict", {"pclass": "3"})
    assert (secure.status_code, secure["Location"]) == (308, "https://testserver/predict")


#: A parameter of each list of the API that people would expect, with a value.
FILTERS = {
    "predictions/": ("model", "1"), "scoring-jobs/": ("state", "failed"), "datasets/": ("state", "succeeded"),
    "datasets/1/problems/": ("severity", "error"), "feature-batches/": ("dataset", "1"),
    "models/": ("stage", "champion"), "models/1/reproductions/": ("state", "queued"),
    "training-runs/": ("algorithm", "random_forest"),
    "drift-checks/": ("state", "failed"), "performance-checks/": ("state", "running"), "alerts/": ("kind", "drift"),
    "runs/": ("kind", "dataset"), "audit/": ("action", "queued"), "schedules/": ("enabled", "true"),
}  # fmt: skip
UNTIMED = ("datasets/1/problems/", "schedules/")


@pytest.fixture
def administrator(champion: ModelVersion) -> APIClient:
    client = APIClient()
    token = AccessToken.objects.create(make_user("chief", "administrator"), can_admin=True)[1]
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


@pytest.mark.parametrize("path", FILTERS)
def test_a_list_is_filtered_and_names_a_parameter_that_it_does_not_know(path: str, administrator: APIClient) -> None:
    url, (name, value) = f"/api/v1/{path.replace('/1/', f'/{Dataset.objects.get().pk}/', 1)}", FILTERS[path]
    if path.startswith("models/1"):
        url = f"/api/v1/{path}"
    times = {} if path in UNTIMED else {"since": "2026-11-29", "until": "2126-11-29T00:00:00Z"}

    for query in ({name: value}, times, {name: value, **times, "page_size": "1"}):
        assert administrator.get(url, query).status_code == 200, query
    for unknown in ("model_version", "page", "limit", "State", "\0"):
        refused = administrator.get(f"{url}?{urlencode({unknown: '77'})}")
        assert (refused.status_code, refused.json()["errors"][0]["attr"]) == (400, unknown)
        assert name in refused.json()["errors"][0]["detail"]
    twice = administrator.get(f"{url}?{name}={value}&{name}={value}")
    assert (twice.status_code, twice.json()["errors"][0]["code"]) == (400, "doubled_parameter")
    for known in (name, *times):
        wrong = administrator.get(url, {known: "\0nonsense"})
        assert (wrong.status_code, wrong.json()["errors"][0]["attr"]) == (400, known)


def test_filters_select(administrator: APIClient, champion: ModelVersion) -> None:
    def count(path: str, **query: str) -> int:
        return len(administrator.get(f"/api/v1/{path}", query).json()["results"])

    day = f"{champion.created_at:%Y-%m-%d}"
    for path, name, matching, other in (
        ("models/", "stage", "champion", "retired"),
        ("training-runs/", "state", "succeeded", "failed"),
        ("datasets/", "state", "succeeded", "queued"),
        ("feature-batches/", "dataset", str(Dataset.objects.get().pk), "999"),
    ):
        assert (count(path, **{name: matching}), count(path, **{name: other})) == (1, 0)
        # A day is its start, in UTC.
        assert (count(path, since=day), count(path, until=day)) == (1, 0)


def test_other_addresses_take_no_unknown_parameter_either(api: APIClient, champion: ModelVersion) -> None:
    for method, path in (
        ("get", "models/1/"),
        ("get", "features/1/"),
        ("post", "predictions/"),
        ("post", "drift-checks/"),
    ):
        refused = api.generic(method.upper(), f"/api/v1/{path}?version=2", b"{}", "application/json")
        assert (refused.status_code, refused.json()["errors"][0]["attr"]) == (400, "version"), path
    assert APIClient().get("/api/v1/models/?x=1").status_code == 401
    assert api.delete("/api/v1/models/?x=1").status_code == 405


def test_the_schema_has_the_filters(api: APIClient) -> None:
    schema = api.get("/api/v1/schema/?format=json", HTTP_ACCEPT="application/vnd.oai.openapi+json").json()

    for path, (name, _value) in FILTERS.items():
        (described,) = (item for key, item in schema["paths"].items() if key in _described(path))
        names = {parameter["name"] for parameter in described["get"]["parameters"]}
        assert {name, *(() if path in UNTIMED else ("since", "until"))} <= names, path


def _described(path: str) -> tuple[str, ...]:
    return tuple(f"/api/v1/{path.replace('1', key)}" for key in ("{id}", "{version}"))


@pytest.mark.parametrize("address", ["/api/v1/a%0Ab/", "/v2/a%0Ab", "/v2/%0A", "/api/v1/%0A/"])
def test_an_address_with_a_line_break_is_unknown_as_any_other(api: APIClient, address: str) -> None:
    response = api.get(address)

    assert (response.status_code, response["Content-Type"]) == (404, "application/json")
