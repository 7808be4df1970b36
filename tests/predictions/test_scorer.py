"""The champion in memory: taken up in a moment, and never by a file that is not what the registry says."""

import time
from collections.abc import Callable
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import onnx
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from core import redis
from core.content_store import sha256_of
from core.errors import Unavailable
from monitoring import alerts
from monitoring.models import Alert
from predictions import load_failures, scorer
from tests.people import ELISABETH
from training import registry
from training.artifact import Artifact
from training.models import ModelVersion, Stage, TrainingRun


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer, "RECHECK_SECONDS", 0)
    monkeypatch.setattr(scorer, "FIRST_RETRY_SECONDS", 0.05)


@pytest.fixture
def replace_champion(champion: ModelVersion) -> Callable[..., ModelVersion]:
    """Make another version the champion behind the registry's back, with whatever file."""

    def _put(change: Callable[[bytes], bytes] = bytes, *, is_known: bool = False, **fields: Any) -> ModelVersion:
        with default_storage.open(champion.onnx_file.name) as file:
            data = change(file.read())
        if is_known:
            # Whoever put the file there could change the registry too.
            fields["sha256"] = sha256_of(data)
        name = default_storage.save("models/other.onnx", ContentFile(data))
        copied = {item.name: getattr(champion, item.name) for item in ModelVersion._meta.fields if item.name != "id"}
        run = TrainingRun.objects.create(feature_batch=champion.feature_batch)
        ModelVersion.objects.update(stage=Stage.RETIRED)
        return ModelVersion.objects.create(**{**copied, "version": 2, "run": run, "onnx_file": name, **fields})

    return _put


def _with_outside_data(data: bytes) -> bytes:
    model = onnx.load_model_from_string(data)
    tensor = model.graph.initializer.add(name="secret", data_type=1, dims=[1])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return bytes(model.SerializeToString())


def _with_another_operator(data: bytes) -> bytes:
    model = onnx.load_model_from_string(data)
    model.graph.node.append(onnx.helper.make_node("Abs", ["features"], ["unused"]))
    return bytes(model.SerializeToString())


def test_a_new_champion_is_taken_up(champion: ModelVersion, replace_champion: Callable[..., ModelVersion]) -> None:
    assert scorer.champion().version == 1

    replace_champion()

    assert scorer.champion().version == 2
    assert load_failures.recent() == []


@pytest.mark.parametrize(
    ("change", "fields", "reason"),
    [
        (lambda data: data[:-100], {}, "sha256"),
        (lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:], {}, "sha256"),
        (lambda data: data + b"\0" * 70_000_000, {}, "bytes"),
        (_with_outside_data, {"is_known": True}, "graph"),
        (_with_another_operator, {"is_known": True}, "Abs"),
        (lambda data: data[:-100], {"is_known": True}, "graph"),
        (lambda _data: b"", {"is_known": True}, "graph"),
        (bytes, {"onnx_file": "models/gone.onnx"}, "cannot be read"),
        (bytes, {"definition_version": "0"}, "definition 0"),
        (bytes, {"golden_rows": [[[0.0] * 11, 0.123]] * 16}, "golden rows"),
    ],
)
def test_a_file_that_must_not_serve_leaves_the_old_champion_serving(
    champion: ModelVersion,
    replace_champion: Callable[..., ModelVersion],
    change: Callable[[bytes], bytes],
    fields: dict[str, Any],
    reason: str,
) -> None:
    assert scorer.champion().version == 1

    replace_champion(change, **fields)

    assert scorer.champion().version == 1
    (refused,) = load_failures.recent()
    assert refused.version == 2
    assert reason in str(refused.reason)
    alerts.evaluate_alerts()
    assert reason in str(Alert.objects.open().get(kind="artifact").message)


def test_a_refused_file_is_tried_again_and_serves_when_it_is_corrected(
    champion: ModelVersion, replace_champion: Callable[..., ModelVersion]
) -> None:
    scorer.champion()
    version = replace_champion(onnx_file="models/gone.onnx")
    assert scorer.champion().version == 1

    ModelVersion.objects.filter(pk=version.pk).update(onnx_file=champion.onnx_file.name)
    time.sleep(0.06)

    assert scorer.champion().version == 2
    assert load_failures.recent() == []


def test_it_is_not_tried_again_at_every_request(
    champion: ModelVersion, replace_champion: Callable[..., ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer, "FIRST_RETRY_SECONDS", 60)
    scorer.champion()
    replace_champion(onnx_file="models/gone.onnx")
    scorer.champion()
    redis.client().flushall()

    scorer.champion()

    assert load_failures.recent() == []


def test_the_pause_between_two_tries_grows(
    champion: ModelVersion,
    replace_champion: Callable[..., ModelVersion],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(scorer, "MAX_RETRY_SECONDS", 0.2)
    scorer.champion()
    replace_champion(onnx_file="models/gone.onnx")

    end = time.monotonic() + 1
    while time.monotonic() < end:
        assert scorer.champion().version == 1

    # At 0, 0.05, 0.15 and 0.35 s, and from then on every 0.2 s.
    assert 3 <= caplog.text.count("model 2 cannot be loaded") <= 8


@pytest.mark.django_db(transaction=True)
def test_while_one_thread_loads_the_others_go_on_answering(
    champion: ModelVersion, replace_champion: Callable[..., ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_load, is_loading, load = Event(), Event(), registry.load

    def slowly(version: ModelVersion) -> Artifact:
        is_loading.set()
        assert may_load.wait(20)
        return load(version)

    def take_up() -> None:
        scorer.champion()
        connection.close()

    assert scorer.champion().version == 1
    replace_champion()
    monkeypatch.setattr(registry, "load", slowly)
    thread = Thread(target=take_up)
    thread.start()
    assert is_loading.wait(20)
    meanwhile = [scorer.champion().version for _ in range(100)]
    may_load.set()
    thread.join()

    assert set(meanwhile) == {1}
    assert scorer.champion().version == 2


def test_a_note_of_a_process_that_is_gone_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    load_failures.record(7, "broken")
    assert [refused.version for refused in load_failures.recent()] == [7]

    monkeypatch.setattr(load_failures, "MAX_AGE", timedelta(0))

    assert load_failures.recent() == []


def test_a_process_without_any_says_which_file_must_not_serve_and_why(
    champion: ModelVersion, replace_champion: Callable[..., ModelVersion], api: APIClient, client: Client
) -> None:
    ModelVersion.objects.update(onnx_file="models/gone.onnx")

    with pytest.raises(
        Unavailable, match="Model 1 is the champion, but its file must not be used: its file cannot be read"
    ):
        scorer.champion()
    answer = api.post("/api/v1/predictions/", ELISABETH, format="json")
    ready = client.get("/readyz")

    assert answer.status_code == 503
    assert "must not be used" in answer.json()["errors"][0]["detail"]
    assert "must not be used" in ready.json()["checks"]["champion"]


def test_without_redis_a_refusal_is_logged_and_nothing_breaks(
    champion: ModelVersion,
    replace_champion: Callable[..., ModelVersion],
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    scorer.champion()
    replace_champion(onnx_file="models/gone.onnx")
    settings.REDIS_URL = "redis://127.0.0.1:1"
    redis.client.cache_clear()
    try:
        assert scorer.champion().version == 1
    finally:
        redis.client.cache_clear()
    assert "cannot be loaded" in caplog.text
