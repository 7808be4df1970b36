"""Alive, ready, and what the figures say."""

import time
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import Client

from core import heartbeat, redis
from predictions import scorer
from tests.people import OWEN
from tests.services import postgres_away
from titanic_site.runtime import up
from training.models import ModelVersion


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


def answer_for_all() -> None:
    for queue in settings.QUEUES:
        heartbeat.beat(queue)


def test_alive_is_cheap(client: Client) -> None:
    assert client.get("/healthz").status_code == 200


def test_ready_when_everything_answers(client: Client, champion: ModelVersion) -> None:
    answer_for_all()

    response = client.get("/readyz")

    assert (response.status_code, response.json()["ready"]) == (200, True)


def test_without_a_champion_it_is_not_ready(client: Client, db: None) -> None:
    answer_for_all()

    response = client.get("/readyz")

    assert response.status_code == 503
    assert "No model is serving" in response.json()["checks"]["champion"]


def test_a_silent_queue_is_named_and_stops_no_prediction(client: Client, champion: ModelVersion) -> None:
    answer_for_all()
    redis.client().set("heartbeat:scoring", time.time() - 2 * heartbeat.SILENCE_LIMIT)

    response = client.get("/readyz")

    assert (response.status_code, response.json()["ready"]) == (200, True)
    assert response.json()["checks"]["workers"] == "No worker is available for: scoring"


def test_it_can_predict_without_postgres_or_without_redis_but_not_without_both(
    client: Client, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer.champion()

    with postgres_away():
        without_postgres = client.get("/readyz")
        with monkeypatch.context() as patch:
            patch.setattr(redis.breaker, "is_open", True)
            without_both = client.get("/readyz")

    assert without_postgres.status_code == 200
    assert without_postgres.json()["checks"]["database"].startswith("PostgreSQL does not answer")
    assert (without_both.status_code, without_both.json()["ready"]) == (503, False)
    assert without_both.json()["checks"]["redis"].startswith("Redis does not answer")


def test_a_worker_is_hung_when_it_is_silent_whoever_else_takes_its_queues() -> None:
    own = up.own_queue("work")
    is_hung, long_ago = up.HangDetector(own), time.monotonic() - 2 * heartbeat.SILENCE_LIMIT
    heartbeat.beat(own)
    assert not is_hung(long_ago)

    # As if nothing had come since.
    is_hung._changed_at = long_ago
    heartbeat.beat("scoring")
    assert is_hung(long_ago)
    assert not is_hung(time.monotonic())

    heartbeat.beat(own)
    assert not is_hung(long_ago)


def test_hosts_take_heartbeats_from_queues_of_their_own(settings: Any, tmp_path: Path) -> None:
    here = [up.own_queue(name) for name in up.WORKERS]
    taken = [set(program.command[program.command.index("-Q") + 1].split(",")) for program in up.programs()[-1]]

    settings.HOME = tmp_path

    assert [queue in queues for queue, queues in zip(here, taken, strict=True)] == [True] * 3
    assert not set(here) & {up.own_queue(name) for name in up.WORKERS}


def test_a_queue_whose_heartbeats_are_switched_off_is_asked_for_one() -> None:
    request_heartbeats = up.HeartbeatRequests(*settings.QUEUES)
    answer_for_all()
    redis.client().set("heartbeat:scoring", time.time() - heartbeat.SILENCE_LIMIT / 2)
    redis.client().set("heartbeat:training", time.time() + 3600)

    request_heartbeats()
    request_heartbeats()

    assert [redis.client().llen(queue) for queue in settings.QUEUES] == [0, 0, 1, 1]


def test_a_clock_that_was_set_forward_makes_no_worker_seem_dead() -> None:
    is_hung, long_ago = up.HangDetector("default"), time.monotonic() - 2 * heartbeat.SILENCE_LIMIT
    redis.client().set("heartbeat:default", time.time() - 3600)

    assert not is_hung(long_ago)


@pytest.mark.parametrize("refusal", ["MISCONF its disk is full", "NOREPLICAS not enough", "OOM used up"])
def test_a_redis_that_takes_no_writes_is_as_good_as_away(refusal: str) -> None:
    refuse = f"return redis.error_reply('{refusal}')"

    with pytest.raises(redis.RedisUnavailable):
        redis.client().eval(refuse, 0)


@pytest.mark.parametrize("url", ["/healthz", "/readyz", "/metrics"])
@pytest.mark.django_db
def test_they_reject_post(client: Client, url: str) -> None:
    assert client.post(url).status_code == 405


@pytest.mark.usefixtures("login_required", "champion")
def test_they_answer_under_any_host_and_ask_for_no_session(client: Client) -> None:
    answer_for_all()

    for url in ("/healthz", "/readyz", "/metrics"):
        # A load balancer asks by address, Prometheus by a service's name, and a stranger by what he likes.
        for host in ("10.0.0.7:8000", "web:8000", "evil.example", "not a host"):
            answer = client.get(url, headers={"Host": host, "Accept-Language": "es"})
            assert answer.status_code == 200, (url, host)
            assert not {"Vary", "Set-Cookie", "Content-Language"} & answer.headers.keys()
        assert client.get(f"{url}/", headers={"Host": "evil.example"}).status_code == 400


def test_predictions_are_counted(client: Client, champion: ModelVersion) -> None:
    client.post("/predict", OWEN)
    cache.clear()

    text = client.get("/metrics").text

    assert 'prediction_count_total{model_version="1",source="form",survived="false"}' in text
    assert "titanic_champion_version 1.0" in text
    assert "titanic_prediction_log_backlog 1.0" in text
    assert 'titanic_up{service="redis"} 1.0' in text


def test_a_redis_that_is_away_is_a_figure_not_an_error(
    client: Client, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.conf.settings.REDIS_URL", "redis://127.0.0.1:1/0")
    redis.client.cache_clear()
    cache.clear()

    text, ready = client.get("/metrics").text, client.get("/readyz")

    monkeypatch.undo()
    redis.client.cache_clear()
    assert 'titanic_up{service="redis"} 0.0' in text
    assert "titanic_champion_version" in text
    assert ready.status_code == 200
    assert ready.json()["checks"]["redis"] != "ok"
