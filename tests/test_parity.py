"""The self-test: one answer at every door, told on the page, in the metrics and by an alert."""

from typing import Any

import pytest
from django.test import Client

from features.definition import derive
from monitoring import alerts, parity
from monitoring.models import Alert
from predictions import log, tensors
from predictions.models import Door
from titanic_site.lib import canary
from training.models import ModelVersion


@pytest.fixture(autouse=True)
def _workers_answer() -> None:
    for queue in ("fast", "default", "scoring", "training"):
        canary.answer(queue)


def _metrics(client: Client) -> str:
    from monitoring.metrics import _cache

    _cache._made_at = -10.0
    return client.get("/metrics").content.decode()


def test_every_door_gives_one_answer(client: Client, champion: ModelVersion) -> None:
    assert "Not asked yet" in client.get("/monitoring/").content.decode()

    found = parity.run()

    assert found.is_passed, found
    assert set(found.doors) == set(Door.values)
    assert parity.last() == found
    page = client.get("/monitoring/").content.decode()
    assert page.count("The same") == len(Door)
    for door in Door.values:
        assert f'titanic_parity{{door="{door}"}} 1.0' in _metrics(client)


def test_nothing_of_it_is_logged_or_counted(client: Client, champion: ModelVersion) -> None:
    before = [line for line in _metrics(client).splitlines() if line.startswith("prediction_count_total")]

    parity.run()

    assert log.backlog() == 0
    assert [line for line in _metrics(client).splitlines() if line.startswith("prediction_count_total")] == before
    assert not log.is_rehearsal()


def test_a_door_that_answers_otherwise_is_told_of(
    client: Client, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tensors.Request.rows

    def a_year_older(self: Any, *, most: int) -> Any:
        return [(*row[:2], None if row[2] is None else row[2] + 20, *row[3:]) for row in rows(self, most=most)]

    monkeypatch.setattr(tensors.Request, "rows", a_year_older)
    found = parity.run()
    alerts.watch()

    assert [door for door, agrees in found.doors.items() if not agrees] == ["v2"]
    assert "Another" in client.get("/monitoring/").content.decode()
    assert 'titanic_parity{door="v2"} 0.0' in _metrics(client)
    assert Alert.objects.open().get().kind == "parity"
    monkeypatch.undo()
    parity.run()
    alerts.watch()
    assert not Alert.objects.open().exists()


def test_without_a_champion_it_says_so(client: Client, transactional_db: None) -> None:
    found = parity.run()

    assert not found.is_passed
    assert "Train one" in found.error
    assert client.get("/monitoring/").status_code == 200


def test_what_is_derived_otherwise_at_one_door_is_seen(champion: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    from predictions import scorer

    calls = 0

    def drifting(columns: Any) -> Any:
        nonlocal calls
        calls += 1
        matrix = derive(columns)
        if len(matrix) == 1:
            matrix[:, 1] += 50
        return matrix

    monkeypatch.setattr(scorer, "derive", drifting)
    found = parity.run()

    assert calls
    assert not found.doors["form"]
    assert not found.doors["api"]
    assert found.doors["batch"]
