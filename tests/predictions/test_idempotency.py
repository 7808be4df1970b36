"""Asked twice under one key, answered and logged once."""

import threading
from typing import Any

import pytest
from django.db import connections
from redis.exceptions import ConnectionError as Away
from rest_framework.test import APIClient

from core import redis
from predictions import log
from predictions.models import Prediction
from tests.people import ELISABETH, OWEN
from tests.users import make_user
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
