"""Challengers in the shadow: what they would have answered, beside what was."""

from threading import Thread
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from predictions import load_failures, log, services, shadow
from predictions.models import Prediction, ShadowScore
from tests.people import CAST, ELISABETH
from training import registry
from training.models import ModelVersion, Stage, TrainingRun


@pytest.fixture
def challenger(champion: ModelVersion) -> ModelVersion:
    """A version with the champion's file and another threshold."""
    fields = {item.name: getattr(champion, item.name) for item in ModelVersion._meta.fields if item.name != "id"}
    run = TrainingRun.objects.create(feature_batch=champion.feature_batch)
    changed = {"version": 2, "run": run, "stage": Stage.CANDIDATE, "threshold": 0.0}
    return ModelVersion.objects.create(**{**fields, **changed})


def ask(count: int = 1) -> None:
    services.predict(services.parse_batch(CAST * count))
    log.drain()


def test_it_works(challenger: ModelVersion) -> None:
    registry.start_shadow(challenger, by=None)
    ask(3)

    assert shadow.score_all() == 12

    logged = dict(Prediction.objects.values_list("pk", "probability"))
    assert dict(ShadowScore.objects.values_list("prediction_id", "probability")) == pytest.approx(logged)
    assert set(ShadowScore.objects.values_list("model_version", flat=True)) == {2}


def test_what_was_scored_is_not_scored_again(challenger: ModelVersion) -> None:
    registry.start_shadow(challenger, by=None)
    ask()
    shadow.score_all()
    ask()

    assert [shadow.score_all(), shadow.score_all()] == [4, 0]


def test_the_latest_before_it_became_a_challenger_are_scored_too(
    challenger: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "ROWS_BEFORE", 6)
    ask(5)
    registry.start_shadow(challenger, by=None)
    ask()

    assert shadow.score_all() == 10


def test_one_that_challenges_again_leaves_out_the_time_between(
    challenger: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "ROWS_BEFORE", 2)
    registry.start_shadow(challenger, by=None)
    ask()
    shadow.score_all()
    registry.retire(challenger, by=None)
    ask(5)
    registry.start_shadow(challenger, by=None)
    ask()

    assert shadow.score_all() == 6


def test_a_task_scores_so_many_and_the_next_goes_on(challenger: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "ROWS_AT_ONCE", 4)
    monkeypatch.setattr(shadow, "ROWS_IN_A_TASK", 8)
    registry.start_shadow(challenger, by=None)
    ask(5)

    assert [shadow.score_all(), shadow.score_all(), shadow.score_all()] == [8, 8, 4]


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_do_no_harm(challenger: ModelVersion) -> None:
    registry.start_shadow(challenger, by=None)
    ask(50)

    def score() -> None:
        shadow.score_all()
        connection.close()

    threads = [Thread(target=score) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ShadowScore.objects.count() == 200


def test_without_a_challenger_there_is_one_question(champion: ModelVersion, django_assert_num_queries: Any) -> None:
    ask()

    with django_assert_num_queries(1):
        assert shadow.score_all() == 0


def test_a_file_that_must_not_serve_is_noted(challenger: ModelVersion) -> None:
    registry.start_shadow(challenger, by=None)
    ModelVersion.objects.filter(pk=challenger.pk).update(onnx_file="models/gone.onnx")
    ask()

    assert shadow.score_all() == 0
    assert [refused.version for refused in load_failures.recent()] == [2]


def test_its_answers_stand_beside_those_that_were_given(challenger: ModelVersion) -> None:
    registry.start_shadow(challenger, by=None)
    ask(2)
    shadow.score_all()

    compared = shadow.comparison(challenger)

    assert compared is not None
    found = compared.figures
    verdicts = list(Prediction.objects.values_list("predicted", flat=True))
    assert (found.count, found.agreed) == (8, np.mean(verdicts))
    assert found.mean_distance == pytest.approx(0, abs=1e-9)
    assert len(compared.furthest) == 8
    assert (found.outcome_count, found.logged, found.is_enough) == (0, None, False)


def test_it_is_on_the_page_and_in_the_api(challenger: ModelVersion, api: APIClient, client: Client) -> None:
    registry.start_shadow(challenger, by=None)
    assert "No shadow scores yet" in client.get("/predictions/shadow/2/").text
    assert api.get("/api/v1/shadow/2/").status_code == 409
    api.post("/api/v1/predictions/", ELISABETH, format="json")
    log.drain()
    shadow.score_all()

    page = client.get("/predictions/shadow/2/")
    fragment = client.get("/predictions/shadow/2/", headers={"HX-Request": "true"})
    found = api.get("/api/v1/shadow/2/").json()

    assert "Furthest apart" in page.text
    assert "Outcomes known: 0." in page.text
    assert "With so few" in page.text
    assert "<html" in page.text
    assert "<html" not in fragment.text
    assert found["count"] == 1
    assert "/predictions/shadow/2/" in client.get("/models/2/?tab=deployments").text


@pytest.mark.parametrize("address", ["/predictions/shadow/99/", "/predictions/shadow/99999999999999999999/"])
def test_of_a_version_that_is_not_there_is_nothing(client: Client, champion: ModelVersion, address: str) -> None:
    assert client.get(address).status_code == 404
