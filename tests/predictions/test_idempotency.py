"""Asked twice under one key, answered and logged once."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections
from django.utils import timezone
from redis.exceptions import ConnectionError as Away
from rest_framework.test import APIClient

from core import redis
from core.models import StoredAnswer
from ingestion.models import Dataset
from monitoring.models import PerformanceCheck
from predictions import log
from predictions.models import Prediction, ScoringJob
from tests.people import CAST, ELISABETH, OWEN
from tests.users import make_user
from titanic_site import retention
from titanic_site.models import AccessToken
from training.models import ModelVersion

URL = "/api/v1/predictions/"


def _ask(api: APIClient, key: str, person: Any = ELISABETH) -> Any:
    return api.post(URL, person, format="json", HTTP_IDEMPOTENCY_KEY=key)


def test_the_same_question_under_the_same_key_is_answered_once(api: APIClient, champion: ModelVersion) -> None:
    first, second = _ask(api, "a"), _ask(api, "a")
    log.drain()
    third = _ask(api, "a")

    assert (first.status_code, second.status_code, third.status_code) == (201, 201, 201)
    assert first.content == second.content == third.content
    assert "Idempotency-Replayed" not in first
    assert second["Idempotency-Replayed"] == "true"
    assert [str(row.pk) for row in Prediction.objects.all()] == [first.json()["id"]]


def test_the_order_of_the_fields_is_no_other_question(api: APIClient, champion: ModelVersion) -> None:
    turned = dict(reversed(ELISABETH.items()))

    assert _ask(api, "a").content == _ask(api, "a", turned).content


def test_another_question_under_a_known_key_is_a_conflict(api: APIClient, champion: ModelVersion) -> None:
    _ask(api, "a")

    refused = _ask(api, "a", OWEN)

    assert refused.status_code == 409
    assert refused.json()["errors"][0]["attr"] == "Idempotency-Key"
    assert log.drain() == 1


def test_a_refused_question_leaves_its_key_free(api: APIClient, champion: ModelVersion) -> None:
    assert _ask(api, "a", {**OWEN, "pclass": 9}).status_code == 400

    assert _ask(api, "a", OWEN).status_code == 201


def test_keys_of_two_callers_are_apart(api: APIClient, champion: ModelVersion, django_user_model: Any) -> None:
    other = APIClient()
    token = AccessToken.objects.create(make_user("other"))[1]
    other.credentials(HTTP_AUTHORIZATION=f"Token {token}")

    assert _ask(api, "a").json()["id"] != _ask(other, "a").json()["id"]
    assert log.drain() == 2


def test_a_key_is_forgotten_after_a_day(api: APIClient, champion: ModelVersion) -> None:
    _ask(api, "a")

    (name,) = redis.client().keys("predictions:once:*")
    assert 86_000 < redis.client().ttl(name) <= 86_400


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_all_get_one_answer(api: APIClient, champion: ModelVersion) -> None:
    token = vars(api)["_credentials"]["HTTP_AUTHORIZATION"]
    answers: list[Any] = []

    def ask() -> None:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=token)
        answers.append(_ask(client, "a").content)
        connections.close_all()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == 8
    assert len(set(answers)) == 1
    assert log.drain() == 1


def test_without_redis_nothing_is_claimed(
    api: APIClient, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ask(api, "b")

    def away(*_: Any) -> Any:
        raise Away

    monkeypatch.setattr(redis, "client", away)
    refused = _ask(api, "a")

    assert refused.status_code == 503
    assert refused["Retry-After"]
    monkeypatch.undo()
    assert _ask(api, "a").status_code == 201
    assert log.drain() == 2


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "a\tb", "\x85"])
def test_a_key_that_is_none_is_refused(key: str, api: APIClient, champion: ModelVersion) -> None:
    refused = _ask(api, key)

    assert refused.status_code == 400
    assert refused.json()["errors"][0]["attr"] == "Idempotency-Key"


BATCH = f"{URL}batch/"


def _ask_many(api: APIClient, key: str, people: Any = CAST) -> Any:
    return api.post(BATCH, {"instances": people}, format="json", HTTP_IDEMPOTENCY_KEY=key)


def test_a_batch_under_a_known_key_is_answered_and_logged_once(api: APIClient, champion: ModelVersion) -> None:
    many = [*CAST] * 20
    first, second = _ask_many(api, "a", many), _ask_many(api, "a", many)
    refused, other = _ask_many(api, "a", CAST), _ask_many(api, "b", [])

    assert (first.status_code, first.content) == (200, second.content)
    assert (second["Idempotency-Replayed"], "Idempotency-Replayed" in first) == ("true", False)
    assert (refused.status_code, other.json()["predictions"]) == (409, [])
    assert log.backlog() == log.drain() == len(many)
    assert log.backlog() == 0


def test_a_rejected_batch_leaves_its_key_free(api: APIClient, champion: ModelVersion) -> None:
    assert _ask_many(api, "a", [{**OWEN, "pclass": 9}]).status_code == 400
    assert _ask_many(api, "a", [OWEN]).status_code == 200


#: Requests that start something, or change something that sending it again would change once more.
STARTS = {
    "scoring-jobs/": "file", "datasets/": "file", "feature-batches/": "json", "training-runs/": "json",
    "drift-checks/": "json", "performance-checks/": "json", "models/1/reproductions/": "json",
}  # fmt: skip


def _start(api: APIClient, path: str, key: str, text: str = "pclass,sex\n1,male\n") -> Any:
    body: dict[str, Any] = {"dataset": Dataset.objects.earliest("pk").pk} if path == "feature-batches/" else {}
    if STARTS[path] == "file":
        body["file"] = SimpleUploadedFile("table.csv", text.encode())
    kind = "multipart" if STARTS[path] == "file" else "json"
    return api.post(f"/api/v1/{path}", body, format=kind, HTTP_IDEMPOTENCY_KEY=key)


@pytest.mark.parametrize("path", STARTS)
def test_what_a_key_starts_is_started_once(path: str, api: APIClient, champion: ModelVersion) -> None:
    first, second, other = _start(api, path, "a"), _start(api, path, "a"), _start(api, path, "b")

    assert (first.status_code, second.status_code) == (202, 202)
    assert (first.json(), first["Location"]) == (second.json(), second["Location"])
    assert (second["Idempotency-Replayed"], "Idempotency-Replayed" in first) == ("true", False)
    # Of some kinds one waits at a time.
    assert other.status_code == 409 or other.json()["id"] != first.json()["id"]


def test_another_body_or_file_under_a_known_key_is_a_conflict(api: APIClient, champion: ModelVersion) -> None:
    _start(api, "scoring-jobs/", "a")
    refused = _start(api, "scoring-jobs/", "a", text="pclass,sex\n2,male\n")
    url, key = "/api/v1/training-runs/", {"Idempotency-Key": "a"}
    api.post(url, {"seed": 1}, format="json", headers=key)
    again = api.post(url, {"seed": 2}, format="json", headers=key)

    assert [refused.status_code, again.status_code] == [409, 409]
    assert ScoringJob.objects.count() == 1
    assert refused.json()["errors"][0]["attr"] == "Idempotency-Key"


def test_what_was_refused_leaves_its_key_free_and_a_day_later_it_is_forgotten(
    api: APIClient, champion: ModelVersion
) -> None:
    url, key = "/api/v1/training-runs/", {"Idempotency-Key": "a"}
    assert api.post(url, {"seed": -1}, format="json", headers=key).status_code == 400
    first = api.post(url, {}, format="json", headers=key).json()["id"]
    StoredAnswer.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert api.post(url, {}, format="json", headers=key).json()["id"] != first

    StoredAnswer.objects.update(created_at=timezone.now() - timedelta(hours=25))
    retention.delete_old()
    assert not StoredAnswer.objects.exists()


def test_where_no_key_is_read_it_is_refused_with_a_sentence(api: APIClient, champion: ModelVersion) -> None:
    key = {"Idempotency-Key": "a"}
    outcomes = api.post("/api/v1/outcomes/", [], format="json", headers=key)
    tensors = api.post("/v2/models/titanic/infer", {}, format="json", headers=key)
    hostile = api.post("/api/v1/training-runs/", {}, format="json", headers={"Idempotency-Key": "x" * 256})

    assert [outcomes.status_code, tensors.status_code, hostile.status_code] == [400, 400, 400]
    assert "key" in outcomes.json()["errors"][0]["detail"]
    assert "Idempotency-Key" in tensors.json()["error"]
    assert api.get("/api/v1/models/", headers=key).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_of_many_starts_at_once_one_starts(api: APIClient, champion: ModelVersion) -> None:
    token = vars(api)["_credentials"]["HTTP_AUTHORIZATION"]
    ids: list[int] = []

    def start() -> None:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=token)
        ids.append(_start(client, "performance-checks/", "a").json()["id"])
        connections.close_all()

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(ids) == 6
    assert len(set(ids)) == PerformanceCheck.objects.count() == 1
