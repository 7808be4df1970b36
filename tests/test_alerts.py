"""Alerts: raised once, resolved when the reason is gone."""

from threading import Thread
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from monitoring import alerts, health
from monitoring.models import Alert
from predictions import refusals
from titanic_site.lib import canary
from training.models import ModelVersion


@pytest.fixture(autouse=True)
def _workers_answer(transactional_db: None) -> None:
    for queue in settings.QUEUES:
        canary.answer(queue)


def test_it_works(champion: ModelVersion, api: APIClient, client: Client) -> None:
    ModelVersion.objects.update(onnx_file="models/gone.onnx")

    for _ in range(3):
        alerts.watch()

    found = Alert.objects.open().order_by("kind").values_list("kind", "subject")
    assert list(found) == [("artifact", "Model 1"), ("unready", "champion")]
    assert Alert.objects.count() == 2
    assert "cannot be read" in api.get("/api/v1/alerts/").json()["results"][0]["text"]
    assert "cannot be read" in client.get("/monitoring/").text
    assert 'titanic_alerts_open{kind="artifact"} 1.0' in client.get("/metrics").text


def test_it_is_resolved_when_the_reason_is_gone_and_raised_anew_when_it_comes_back(champion: ModelVersion) -> None:
    refusals.note(champion.version, "broken")
    alerts.watch()
    refusals.clear(champion.version)
    alerts.watch()
    refusals.note(champion.version, "broken again")
    alerts.watch()

    assert [alert.resolved_at is None for alert in Alert.objects.all()] == [True, False]


def test_a_version_that_nobody_uses_calls_nobody(champion: ModelVersion) -> None:
    refusals.note(77, "broken")

    alerts.watch()

    assert not Alert.objects.exists()


def test_a_part_that_does_not_answer_is_one(champion: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(health.CHECKS, "prediction log", lambda: "The prediction log is stuck")

    alerts.watch()

    assert Alert.objects.get().text == "The prediction log is stuck"


def test_two_who_look_at_once_raise_one(champion: ModelVersion) -> None:
    refusals.note(champion.version, "broken")

    def watch() -> None:
        alerts.watch()
        connection.close()

    threads: list[Any] = [Thread(target=watch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Alert.objects.count() == 1


def test_without_any_the_page_says_so(client: Client, champion: ModelVersion) -> None:
    assert "nothing has called for anybody" in client.get("/monitoring/").text
