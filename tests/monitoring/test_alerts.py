"""Alerts: raised once, resolved when the reason is gone, told to the operator's own system."""

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from threading import Thread
from typing import Any

import msgspec
import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.utils import timezone
from redis import ConnectionError as RedisConnectionError
from rest_framework.test import APIClient

from core import heartbeat, redis
from monitoring import alerts, consistency, tasks, webhook
from monitoring.models import Alert
from predictions import load_failures, log
from predictions.log import drainer, stream
from predictions.models import DeadLetter
from tests import servers
from training.models import ModelVersion


@pytest.fixture(autouse=True)
def _workers_answer(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "ALERT_DELAY", 0)
    for queue in settings.QUEUES:
        heartbeat.beat(queue)


def test_it_works(champion: ModelVersion, api: APIClient, client: Client) -> None:
    ModelVersion.objects.update(onnx_file="models/gone.onnx")

    for _ in range(3):
        alerts.evaluate_alerts()

    found = Alert.objects.open().order_by("kind").values_list("kind", "subject")
    assert list(found) == [("artifact", "Model 1"), ("unready", "champion")]
    assert Alert.objects.count() == 2
    assert "cannot be read" in api.get("/api/v1/alerts/").json()["results"][0]["text"]
    assert "cannot be read" in client.get("/monitoring/").text
    assert 'titanic_alerts_open{kind="artifact"} 1.0' in client.get("/metrics").text


def test_it_is_resolved_when_the_reason_is_gone_and_raised_anew_when_it_comes_back(champion: ModelVersion) -> None:
    load_failures.record(champion.version, "broken")
    alerts.evaluate_alerts()
    load_failures.clear(champion.version)
    alerts.evaluate_alerts()
    load_failures.record(champion.version, "broken again")
    alerts.evaluate_alerts()

    assert [alert.resolved_at is None for alert in Alert.objects.all()] == [True, False]


def test_what_the_log_could_not_store_calls_a_person_until_it_is_gone(champion: ModelVersion) -> None:
    redis.client().xadd(stream.STREAM, {stream.FIELD: b"no prediction"})
    for _ in range(drainer.MAX_ATTEMPTS):
        log.drain()
    alerts.evaluate_alerts()
    (alert,) = Alert.objects.open()

    assert (alert.kind, alert.text.startswith("Entries that cannot be stored: 1.")) == ("dead letter", True)

    DeadLetter.objects.all().delete()
    alerts.evaluate_alerts()
    assert not Alert.objects.open().exists()


def test_a_consistency_check_that_does_not_run_any_more_raises_an_alert(
    champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = msgspec.structs.replace(consistency.run(), at=timezone.now() - timedelta(minutes=66))
    alerts.evaluate_alerts()
    redis.client().set(consistency._KEY, msgspec.json.encode(old))
    # As after a night: the first one takes a moment.
    alerts.evaluate_alerts()
    assert not Alert.objects.open().exists()

    monkeypatch.setattr(alerts, "CONSISTENCY_ALERT_DELAY", 0)
    alerts.evaluate_alerts()

    assert list(Alert.objects.open().values_list("kind", "subject")) == [("parity", "Consistency check")]


def test_a_version_that_nobody_uses_calls_nobody(champion: ModelVersion) -> None:
    load_failures.record(77, "broken")

    alerts.evaluate_alerts()

    assert not Alert.objects.exists()


def test_a_part_that_does_not_answer_is_one(champion: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> float:
        raise RedisConnectionError("away")

    monkeypatch.setattr(log, "longest_wait", away)

    alerts.evaluate_alerts()

    assert Alert.objects.get().text == "Redis does not answer: away"


@pytest.mark.django_db(transaction=True)
def test_two_who_look_at_once_raise_one(champion: ModelVersion) -> None:
    load_failures.record(champion.version, "broken")

    def watch() -> None:
        alerts.evaluate_alerts()
        connection.close()

    threads: list[Any] = [Thread(target=watch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Alert.objects.count() == 1


def test_without_any_the_page_says_so(client: Client, champion: ModelVersion) -> None:
    assert "No open alerts" in client.get("/monitoring/").text


def test_one_that_holds_is_kept_up_to_date(champion: ModelVersion) -> None:
    load_failures.record(champion.version, "broken")
    alerts.evaluate_alerts()
    first = Alert.objects.get()
    load_failures.record(champion.version, "gone")
    alerts.evaluate_alerts()
    later = Alert.objects.get()

    assert "gone" in later.text
    assert later.raised_at == first.raised_at
    assert later.last_seen_at > first.last_seen_at


def test_a_kind_that_cannot_be_looked_for_stays_as_it_is_and_holds_up_no_other(
    champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_failures.record(champion.version, "broken")
    alerts.evaluate_alerts()

    def away() -> Iterator[alerts.Reason]:
        raise RedisConnectionError("away")
        yield

    monkeypatch.setitem(alerts.RULES, "artifact", away)
    redis.client().delete("heartbeat:scoring")
    alerts.evaluate_alerts()

    open_kinds = Alert.objects.open().order_by("kind").values_list("kind", flat=True)
    assert list(open_kinds) == ["artifact", "unready"]


def test_a_queue_that_no_worker_answers_for_is_one(champion: ModelVersion) -> None:
    heartbeat_key = "heartbeat:scoring"
    alerts.evaluate_alerts()
    assert not Alert.objects.exists()

    redis.client().delete(heartbeat_key)
    alerts.evaluate_alerts()

    assert Alert.objects.get().text == "No worker is available for: scoring"


def test_a_part_that_answers_again_in_a_moment_calls_nobody(
    champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "ALERT_DELAY", 0.3)
    redis.client().delete("heartbeat:scoring")
    alerts.evaluate_alerts()
    time.sleep(0.3)
    heartbeat.beat("scoring")
    alerts.evaluate_alerts()
    redis.client().delete("heartbeat:scoring")
    alerts.evaluate_alerts()
    assert not Alert.objects.exists()

    time.sleep(0.3)
    alerts.evaluate_alerts()

    assert Alert.objects.open().count() == 1


def test_a_log_that_is_stuck_is_one(champion: ModelVersion) -> None:
    redis.client().xadd("predictions:log", {"p": b"x"}, id="1-1")

    alerts.evaluate_alerts()

    found = Alert.objects.get()
    assert found.subject == "prediction log"
    assert "is stuck: 1 predictions wait" in found.text


def test_what_is_open_comes_first_on_the_page(champion: ModelVersion, client: Client) -> None:
    Alert.objects.create(kind="x", subject="long ago", text="and still so")
    over = [Alert(kind="x", subject=str(n), text="over", resolved_at=timezone.now()) for n in range(100)]
    Alert.objects.bulk_create(over)

    page = client.get("/monitoring/").text

    assert page.index("and still so") < page.index("over")


def test_the_navigation_says_how_many_are_open(client: Client, django_assert_num_queries: Any) -> None:
    assert "/monitoring/alerts/open/" in client.get("/").text
    assert client.get("/monitoring/alerts/open/").text.strip() == ""
    Alert.objects.create(kind="x", subject="y", text="z")
    Alert.objects.create(kind="x", subject="w", text="over", resolved_at=timezone.now())

    with django_assert_num_queries(1):
        assert 'aria-label="1 alert"' in client.get("/monitoring/alerts/open/").text


def test_hostile_words_of_an_error_are_text_on_the_page(champion: ModelVersion, client: Client) -> None:
    load_failures.record(champion.version, "<script>alert(1)</script>")

    alerts.evaluate_alerts()

    page = client.get("/monitoring/").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_the_api_lists_them_newest_first_and_takes_no_others(api: APIClient) -> None:
    Alert.objects.bulk_create([Alert(kind="x", subject=str(n), text="z") for n in range(3)])

    first = api.get("/api/v1/alerts/?page_size=2").json()
    second = api.get(first["next"]).json()

    assert [row["subject"] for row in first["results"] + second["results"]] == ["2", "1", "0"]
    assert set(first["results"][0]) == {"id", "kind", "subject", "text", "raised_at", "last_seen_at", "resolved_at"}
    assert api.post("/api/v1/alerts/", {}, format="json").status_code == 405


def test_a_kind_that_is_well_is_a_zero_for_prometheus(client: Client) -> None:
    assert 'titanic_alerts_open{kind="artifact"} 0.0' in client.get("/metrics").text


# The webhook


@pytest.fixture
def hook(settings: Any) -> Iterator[servers.Server]:
    with servers.serving() as server:
        server.answers = [servers.reply(204)]
        settings.ALERT_WEBHOOK_URL = f"{server.address}/hook?key=secret"
        yield server


def test_the_webhook_is_told_when_one_is_raised_and_when_it_is_resolved(
    champion: ModelVersion, hook: servers.Server
) -> None:
    load_failures.record(champion.version, "broken")
    alerts.evaluate_alerts()
    told = [webhook.notify(), webhook.notify()]
    load_failures.clear(champion.version)
    alerts.evaluate_alerts()
    told += [webhook.notify(), webhook.notify()]

    raised, resolved = map(json.loads, hook.bodies)
    alert = Alert.objects.get()
    assert told == [1, 0, 1, 0]
    assert raised["resolved_at"] is None
    assert (raised["kind"], raised["subject"], raised["text"]) == (alert.kind, alert.subject, alert.text)
    assert resolved["raised_at"] == raised["raised_at"]
    assert resolved["resolved_at"]
    method, path, headers = hook.asked[0]
    assert (method, path, headers["Content-Type"]) == ("POST", "/hook?key=secret", "application/json")


def test_without_a_webhook_nobody_is_told(champion: ModelVersion) -> None:
    load_failures.record(champion.version, "broken")

    alerts.evaluate_alerts()

    assert webhook.notify() == 0
    assert Alert.objects.get().notify_at is None


@pytest.mark.parametrize("status", [500, 404, 302])
def test_a_webhook_in_trouble_is_told_again_later(
    champion: ModelVersion,
    hook: servers.Server,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(webhook, "RETRY_DELAYS", (0.0, 60.0))
    hook.answers = [servers.reply(status, Location="/elsewhere")]
    load_failures.record(champion.version, "broken")
    alerts.evaluate_alerts()

    told = [webhook.notify() for _ in range(3)]

    assert told == [0, 0, 0]
    assert hook.methods == ["POST", "POST"]
    assert f"status {status}" in caplog.text
    assert "secret" not in caplog.text


def test_after_the_last_try_it_is_left_alone_until_something_changes(
    champion: ModelVersion, hook: servers.Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(webhook, "RETRY_DELAYS", (0.0,))
    hook.answers = [servers.reply(500), servers.reply(500), servers.reply(204)]
    load_failures.record(champion.version, "broken")
    alerts.evaluate_alerts()
    told = [webhook.notify() for _ in range(3)]
    load_failures.clear(champion.version)
    alerts.evaluate_alerts()
    told.append(webhook.notify())

    assert told == [0, 0, 0, 1]
    assert "the last" in caplog.text
    assert len(hook.bodies) == 3


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/secret", "http://no-such-host.invalid/secret"])
def test_a_webhook_that_is_not_there_holds_up_nothing_and_its_address_is_not_told(
    champion: ModelVersion, settings: Any, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ALERT_WEBHOOK_URL = address
    load_failures.record(champion.version, "broken")
    alerts.evaluate_alerts()

    assert webhook.notify() == 0
    assert "ConnectionError" in caplog.text
    assert "secret" not in caplog.text


def test_a_webhook_that_hangs_is_given_up_soon(
    champion: ModelVersion, hook: servers.Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(webhook, "TIMEOUT", (0.2, 0.2))
    hook.answers = [servers.hang]
    load_failures.record(champion.version, "broken")
    alerts.evaluate_alerts()

    assert webhook.notify() == 0
    assert "ReadTimeout" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_of_two_senders_one_tells(champion: ModelVersion, hook: servers.Server) -> None:
    Alert.objects.bulk_create(
        [Alert(kind="x", subject=str(number), text="y", notify_at=timezone.now()) for number in range(10)]
    )

    def tell() -> None:
        webhook.notify()
        connection.close()

    threads = [Thread(target=tell) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(json.loads(body)["subject"] for body in hook.bodies) == sorted(map(str, range(10)))


@pytest.mark.django_db(transaction=True)
def test_one_that_is_resolved_while_it_is_told_is_told_again(champion: ModelVersion, hook: servers.Server) -> None:
    load_failures.record(champion.version, "broken")
    alerts.evaluate_alerts()

    def resolve_meanwhile(handler: Any) -> None:
        load_failures.clear(champion.version)
        alerts.evaluate_alerts()
        connection.close()
        servers.reply(204)(handler)

    hook.answers = [resolve_meanwhile, servers.reply(204)]
    told = [webhook.notify(), webhook.notify(), webhook.notify()]

    assert told == [1, 1, 0]
    assert [json.loads(body)["resolved_at"] is None for body in hook.bodies] == [True, False]


def test_the_task_leaves_telling_to_another_queue(champion: ModelVersion, hook: servers.Server) -> None:
    load_failures.record(champion.version, "broken")

    tasks.evaluate_alerts()

    assert redis.client().llen("default") == 1
    assert hook.bodies == []
