"""Outcomes: what really happened, recorded once."""

from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from rest_framework.test import APIClient

from predictions import log, shadow
from predictions.models import Outcome
from tests.people import OWEN
from training import registry
from training.models import ModelVersion, Stage, TrainingRun


@pytest.fixture
def asked(api: APIClient, champion: ModelVersion) -> str:
    return str(api.post("/api/v1/predictions/", OWEN, format="json").json()["id"])


def test_it_works(api: APIClient, asked: str) -> None:
    url = f"/api/v1/predictions/{asked}/outcome/"

    answers = [api.post(url, {"survived": survived}, format="json") for survived in (False, False, True)]

    assert [answer.status_code for answer in answers] == [201, 200, 409]
    assert answers[0].json()["survived"] is False
    assert answers[2].json()["errors"][0]["attr"] == "survived"
    assert Outcome.objects.get().survived is False


@pytest.mark.parametrize(
    "body",
    [{}, {"survived": None}, {"survived": "true"}, {"survived": 1}, {"survived": []}, {"survived": True, "x": 1}],
)
def test_what_is_no_outcome_is_refused(api: APIClient, asked: str, body: dict[str, Any]) -> None:
    answer = api.post(f"/api/v1/predictions/{asked}/outcome/", body, format="json")

    assert answer.status_code == 400
    assert not Outcome.objects.exists()


def test_of_a_prediction_that_was_never_made_there_is_none(api: APIClient, champion: ModelVersion) -> None:
    assert api.post(f"/api/v1/predictions/{uuid4()}/outcome/", {"survived": True}, format="json").status_code == 404


def test_it_is_recorded_on_the_prediction_s_page(client: Client, asked: str) -> None:
    log.drain()
    page = f"/predictions/{asked}/"
    assert "What really happened?" in client.get(page).text

    answer = client.post(f"{page}outcome/", {"survived": "1"}, follow=True)

    assert "What really happened:" in answer.text
    assert client.post(f"{page}outcome/", {"survived": "0"}).status_code == 409
    assert client.post(f"{page}outcome/", {"survived": "x"}).status_code == 400
    assert client.get(f"{page}outcome/").status_code == 405


def test_a_challenger_is_compared_on_outcomes(api: APIClient, asked: str, champion: ModelVersion) -> None:
    fields = {item.name: getattr(champion, item.name) for item in ModelVersion._meta.fields if item.name != "id"}
    run = TrainingRun.objects.create(feature_batch=champion.feature_batch)
    challenger = ModelVersion.objects.create(**{**fields, "version": 2, "run": run, "stage": Stage.CANDIDATE})
    registry.challenge(challenger, by=None)
    api.post(f"/api/v1/predictions/{asked}/outcome/", {"survived": False}, format="json")
    log.drain()
    shadow.score_all()

    found = api.get("/api/v1/shadow/2/").json()

    assert found["outcome_count"] == 1
    assert found["logged"] == found["shadow"]
    assert found["logged"]["accuracy"] == 1
