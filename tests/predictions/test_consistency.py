"""The consistency check: one answer through every channel, shown on the page, in the metrics and by an alert."""

from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from core import heartbeat
from core.errors import Invalid
from features.definition import derive
from ingestion.schema import FIELDS
from monitoring import alerts, consistency
from monitoring.models import Alert
from predictions import api as predictions_api
from predictions import consistency as channels
from predictions import log, scorer, services
from predictions.models import Channel
from predictions.open_inference import tensors
from training.models import ModelVersion


@pytest.fixture(autouse=True)
def _workers_answer() -> None:
    for queue in ("fast", "default", "scoring", "training"):
        heartbeat.beat(queue)


def _agreements(check: consistency.ConsistencyCheck) -> dict[str, bool]:
    return {result.channel: result.is_consistent for result in check.results}


def _metrics(client: Client) -> str:
    cache.clear()
    return client.get("/metrics").content.decode()


def _fail_in_files(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    send = channels.send

    def fail(channel: Channel, rows: Any) -> Any:
        if channel == Channel.CSV:
            raise error
        return send(channel, rows)

    monkeypatch.setattr(channels, "send", fail)


def test_every_channel_gives_one_answer(client: Client, champion: ModelVersion) -> None:
    assert "Not checked yet" in client.get("/monitoring/").content.decode()

    check = consistency.run()

    assert check.is_passed, check
    assert set(_agreements(check)) == set(Channel.values)
    assert consistency.last() == check
    page = client.get("/monitoring/").content.decode()
    assert page.count("Consistent") == len(Channel)
    for channel in Channel.values:
        assert f'titanic_parity{{door="{channel}"}} 1.0' in _metrics(client)


def test_nothing_of_it_is_logged_or_counted(client: Client, champion: ModelVersion) -> None:
    scorer.champion()
    before = [line for line in _metrics(client).splitlines() if line.startswith("prediction_count_total")]

    consistency.run()

    assert log.backlog() == 0
    assert [line for line in _metrics(client).splitlines() if line.startswith("prediction_count_total")] == before
    assert not services._is_dry_run.get()


def test_a_channel_that_answers_otherwise_is_reported(
    client: Client, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tensors.InferenceRequest.rows

    def a_year_older(self: Any) -> Any:
        return [(*row[:2], None if row[2] is None else row[2] + 20, *row[3:]) for row in rows(self)]

    monkeypatch.setattr(tensors.InferenceRequest, "rows", a_year_older)
    check = consistency.run()
    alerts.evaluate_alerts()

    assert [channel for channel, agrees in _agreements(check).items() if not agrees] == ["v2"]
    assert "Inconsistent" in client.get("/monitoring/").content.decode()
    assert 'titanic_parity{door="v2"} 0.0' in _metrics(client)
    assert Alert.objects.open().get().kind == "parity"
    monkeypatch.undo()
    consistency.run()
    alerts.evaluate_alerts()
    assert not Alert.objects.open().exists()


def test_without_a_champion_it_says_so(client: Client, db: None) -> None:
    check = consistency.run()

    assert not check.is_passed
    assert "Train one" in str(check.error)
    assert client.get("/monitoring/").status_code == 200


def test_what_is_derived_otherwise_in_one_channel_is_seen(
    champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def drifting(columns: Any) -> Any:
        nonlocal calls
        calls += 1
        matrix = derive(columns)
        if len(matrix) == 1:
            matrix[:, 1] += 50
        return matrix

    monkeypatch.setattr(scorer, "derive", drifting)
    check = consistency.run()

    assert calls
    assert not _agreements(check)["form"]
    assert not _agreements(check)["api"]
    assert _agreements(check)["batch"]


def test_one_of_whom_nothing_is_known_is_sent_too(champion: ModelVersion) -> None:
    rows = channels.passengers(champion)

    assert len(rows) == len(champion.background) + 1
    assert all(value is None for field, value in zip(FIELDS, rows[-1], strict=True) if not field.is_required
               and field.default is None)  # fmt: skip


def test_a_view_that_changes_what_was_sent_is_seen(champion: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    one, many = predictions_api._object, predictions_api._instances
    monkeypatch.setattr(predictions_api, "_object", lambda body: {**one(body), "age": 3})
    monkeypatch.setattr(predictions_api, "_instances", lambda body: [{**each, "age": 3} for each in many(body)])
    check = consistency.run()

    assert [channel for channel, agrees in _agreements(check).items() if not agrees] == ["api", "batch"]


def test_a_channel_that_refuses_is_named_with_its_reason(
    client: Client, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail_in_files(monkeypatch, Invalid({"age": [("invalid", "not today")]}))
    check = consistency.run()
    alerts.evaluate_alerts()

    assert [channel for channel, agrees in _agreements(check).items() if not agrees] == ["csv"]
    assert "age: not today" in client.get("/monitoring/").content.decode()
    assert str(Alert.objects.open().get().subject) == str(Channel.CSV.label)


def test_a_channel_that_breaks_leaves_no_passed_test_behind(
    client: Client, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    consistency.run()

    _fail_in_files(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        consistency.run()
    alerts.evaluate_alerts()

    last = consistency.last()
    assert last is not None
    assert not last.is_passed
    assert "stopped with an error" in client.get("/monitoring/").content.decode()
    assert Alert.objects.open().get().kind == "parity"
    assert not services._is_dry_run.get()
