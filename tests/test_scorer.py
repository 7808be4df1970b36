"""The champion in memory: taken up in a moment, and never by a file that is not what the registry says."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client
from rest_framework.test import APIClient

from predictions import refusals, scorer
from tests.people import ELISABETH
from titanic_site.lib import redis
from titanic_site.lib.errors import Unavailable
from training.models import ModelVersion, Stage, TrainingRun


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer, "RECHECK_SECONDS", 0)
    monkeypatch.setattr(scorer, "FIRST_PAUSE", 0.05)


@pytest.fixture
def put_in_charge(champion: ModelVersion) -> Callable[..., ModelVersion]:
    """Put another version in charge behind the registry's back, with whatever file."""

    def _put(change: Callable[[bytes], bytes] = bytes, **fields: Any) -> ModelVersion:
        with default_storage.open(champion.onnx_file.name) as file:
            data = change(file.read())
        name = default_storage.save("models/other.onnx", ContentFile(data))
        copied = {item.name: getattr(champion, item.name) for item in ModelVersion._meta.fields if item.name != "id"}
        run = TrainingRun.objects.create(feature_batch=champion.feature_batch)
        ModelVersion.objects.update(stage=Stage.RETIRED)
        return ModelVersion.objects.create(**{**copied, "version": 2, "run": run, "onnx_file": name, **fields})

    return _put


def test_a_new_champion_is_taken_up(champion: ModelVersion, put_in_charge: Callable[..., ModelVersion]) -> None:
    assert scorer.current().version == 1

    put_in_charge()

    assert scorer.current().version == 2
    assert refusals.every() == []


@pytest.mark.parametrize(
    ("change", "fields", "reason"),
    [
        (lambda data: data[:-100], {}, "sha256"),
        (lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:], {}, "sha256"),
        (lambda data: data + b"\0" * 70_000_000, {}, "bytes"),
        (bytes, {"onnx_file": "models/gone.onnx"}, "cannot be read"),
        (bytes, {"definition_version": "0"}, "definition 0"),
        (bytes, {"golden_rows": [[[0.0] * 11, 0.123]] * 16}, "golden rows"),
    ],
)
def test_a_file_that_must_not_serve_leaves_the_old_champion_in_charge(
    champion: ModelVersion,
    put_in_charge: Callable[..., ModelVersion],
    change: Callable[[bytes], bytes],
    fields: dict[str, Any],
    reason: str,
) -> None:
    assert scorer.current().version == 1

    put_in_charge(change, **fields)

    assert scorer.current().version == 1
    (refused,) = refusals.every()
    assert refused.version == 2
    assert reason in refused.reason


def test_a_refused_file_is_tried_again_and_serves_when_it_is_mended(
    champion: ModelVersion, put_in_charge: Callable[..., ModelVersion]
) -> None:
    scorer.current()
    version = put_in_charge(onnx_file="models/gone.onnx")
    assert scorer.current().version == 1

    ModelVersion.objects.filter(pk=version.pk).update(onnx_file=champion.onnx_file.name)
    time.sleep(0.06)

    assert scorer.current().version == 2
    assert refusals.every() == []


def test_it_is_not_tried_again_at_every_request(
    champion: ModelVersion, put_in_charge: Callable[..., ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer, "FIRST_PAUSE", 60)
    scorer.current()
    put_in_charge(onnx_file="models/gone.onnx")
    scorer.current()
    redis.client().flushall()

    scorer.current()

    assert refusals.every() == []


def test_a_process_without_any_says_which_file_must_not_serve_and_why(
    champion: ModelVersion, put_in_charge: Callable[..., ModelVersion], api: APIClient, client: Client
) -> None:
    ModelVersion.objects.update(onnx_file="models/gone.onnx")

    with pytest.raises(Unavailable, match="Model 1 is in charge, but its file must not serve: its file cannot be read"):
        scorer.current()
    answer = api.post("/api/v1/predictions/", ELISABETH, format="json")
    ready = client.get("/readyz")

    assert answer.status_code == 503
    assert "must not serve" in answer.json()["errors"][0]["detail"]
    assert "must not serve" in ready.json()["checks"]["champion"]


def test_without_redis_a_refusal_is_logged_and_nothing_breaks(
    champion: ModelVersion, put_in_charge: Callable[..., ModelVersion], settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    scorer.current()
    put_in_charge(onnx_file="models/gone.onnx")
    settings.REDIS_URL = "redis://127.0.0.1:1"
    redis.client.cache_clear()
    try:
        assert scorer.current().version == 1
    finally:
        redis.client.cache_clear()
    assert "must not serve" in caplog.text
