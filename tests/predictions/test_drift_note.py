"""What stands beside an answer: the watch's state, and whether the values are within the training rows'."""

from datetime import UTC, datetime

import numpy as np
from django.test import Client
from rest_framework.test import APIClient

from features.definition import FEATURES
from predictions import drift_state, scorer
from predictions.drift_state import DriftState
from tests.people import OWEN
from training.metrics import Input
from training.models import ModelVersion
from training.reference import SeenValues

SINCE = datetime(2026, 11, 30, 4, 5, tzinfo=UTC)


def test_an_answer_says_what_the_watch_says(champion: ModelVersion, api: APIClient) -> None:
    drift_state.publish(DriftState("drift", SINCE, ("Fare",), champion.version))

    note = api.post("/api/v1/predictions/", OWEN, format="json").json()["drift"]

    assert (note["state"], note["since"]) == ("drift", "2026-11-30T04:05:00Z")
    assert [feature["name"] for feature in note["features"]] == list(FEATURES)
    assert [feature["name"] for feature in note["features"] if feature["drifted"]] == ["Fare"]
    assert {feature["seen"] for feature in note["features"]} == {True}


def test_a_value_outside_the_training_rows_is_named(champion: ModelVersion, api: APIClient) -> None:
    answer = api.post("/api/v1/predictions/", {**OWEN, "fare": 5_000}, format="json").json()

    unseen = {feature["name"] for feature in answer["drift"]["features"] if not feature["seen"]}
    assert unseen >= {"Fare", "Pclass_Fare"}
    assert "Sex" not in unseen


def test_a_batch_has_one_state_for_all(champion: ModelVersion, api: APIClient) -> None:
    body = api.post("/api/v1/predictions/batch/", {"instances": [OWEN, OWEN]}, format="json").json()

    assert body["drift"]["state"] == "unknown"
    assert {feature["seen"] for feature in body["drift"]["features"]} == {None}
    assert all("drift" not in answer for answer in body["predictions"])


def test_pages_say_it_too(champion: ModelVersion, client: Client, api: APIClient) -> None:
    drift_state.publish(DriftState("drift", SINCE, ("Fare",), champion.version))
    dear = {**OWEN, "fare": "5000"}

    answer = client.post("/predict", dear).content.decode()
    logged_id = api.post("/api/v1/predictions/", {**dear, "fare": 5_000}, format="json").json()["id"]
    logged = client.get(f"/predictions/{logged_id}/").content.decode()

    for page in (answer, logged):
        assert "differ from the training rows in Fare since 30 Nov 2026, 04:05 UTC" in page
        assert "Outside what the model has seen in training: Fare, Class × fare" in page


def test_a_model_of_an_earlier_version_does_not_know_what_it_has_seen(champion: ModelVersion, api: APIClient) -> None:
    inputs = {name: {"values": 2, "missing": 0.0} for name in FEATURES}
    ModelVersion.objects.update(metrics={**champion.metrics, "inputs": inputs})
    scorer.reset()

    note = api.post("/api/v1/predictions/", OWEN, format="json").json()["drift"]

    assert {feature["seen"] for feature in note["features"]} == {None}


def test_what_was_never_known_or_never_unknown_in_training() -> None:
    inputs = {name: Input(3, 0.0, 1.0, 3.0) for name in FEATURES} | {
        "Age": Input(0, 1.0),
        "Fare": Input(3, 0.5, 1.0, 3.0),
    }
    values = SeenValues.of(inputs)
    assert values is not None
    rows = np.full((2, len(FEATURES)), 2, np.float32)
    rows[1] = np.nan

    known, unknown = values.contain(rows)

    assert known.tolist() == [name != "Age" for name in FEATURES]
    assert unknown.tolist() == [name in {"Age", "Fare"} for name in FEATURES]
