"""Alerts: raised once, resolved when the reason is gone, told to the operator's own system."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from threading import Thread
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from redis import ConnectionError as RedisConnectionError
from rest_framework.test import APIClient

from core import heartbeat, redis
from core.jobs import State
from core.models import AuditEntry
from ingestion.models import Dataset
from monitoring import alert_reasons, alerts, consistency, performance
from monitoring.alert_kinds import Kind
from monitoring.models import Alert, AlertRule, DriftCheck
from predictions import drift_state, load_failures, log, outcomes, scorer, services
from predictions.drift_state import DriftState
from predictions.log import drainer, stream
from predictions.models import DeadLetter, Prediction
from tests.people import OWEN
from training.models import ModelVersion


@pytest.fixture(autouse=True)
def _workers_answer(request: pytest.FixtureRequest, db: None) -> None:
    if "champion" in request.fixturenames:
        # Its snapshot is put in before the rules are changed.
        request.getfixturevalue("champion")
    AlertRule.objects.create_missing()
    AlertRule.objects.update(delay_seconds=0, cooldown_minutes=0)
    PeriodicTask.objects.update(last_run_at=timezone.now())
    for queue in settings.QUEUES:
        heartbeat.beat(queue)


def test_it_works(champion: ModelVersion, api: APIClient, client: Client) -> None:
    ModelVersion.objects.update(onnx_file="models/gone.onnx")

    for _ in range(3):
        alerts.evaluate_alerts()

    assert [str(alert) for alert in Alert.objects.open().order_by("kind")] == [
        "artifact: Model 1", "no champion: Champion",
    ]  # fmt: skip
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

    assert (alert.kind, str(alert.message).startswith("Entries that cannot be stored: 1.")) == ("dead letter", True)

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

    monkeypatch.setattr(alert_reasons, "_CONSISTENCY_DELAY", 0)
    alerts.evaluate_alerts()

    assert [str(alert) for alert in Alert.objects.open()] == ["parity: Consistency check"]


def test_a_version_that_nobody_uses_calls_nobody(champion: ModelVersion) -> None:
    load_failures.record(77, "broken")

    alerts.evaluate_alerts()

    assert not Alert.objects.exists()


def test_a_part_that_does_not_answer_is_one(champion: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> float:
        raise RedisConnectionError("away")

    monkeypatch.setattr(heartbeat, "silent_queues", away)

    alerts.evaluate_alerts()

    assert str(Alert.objects.get().message) == "Redis does not answer: away"


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
    # An earlier version stored the words.
    Alert.objects.update(subject="Model 1")
    first = Alert.objects.get()
    load_failures.record(champion.version, "gone")
    alerts.evaluate_alerts()
    later = Alert.objects.get()

    assert "gone" in str(later.message)
    assert later.raised_at == first.raised_at
    assert later.last_seen_at > first.last_seen_at


def test_a_kind_that_cannot_be_looked_for_stays_as_it_is_and_holds_up_no_other(
    champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_failures.record(champion.version, "broken")
    alerts.evaluate_alerts()

    def away(_rule: AlertRule) -> Iterator[alert_reasons.Reason]:
        raise RedisConnectionError("away")
        yield

    monkeypatch.setitem(alert_reasons.RULES, "artifact", away)
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

    assert str(Alert.objects.get().message) == "No worker is available for: scoring"


def test_a_part_that_answers_again_in_a_moment_calls_nobody(
    champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    AlertRule.objects.update(delay_seconds=30)
    start, real_time = time.time(), time.time
    for seconds, is_away in ((0, True), (31, False), (32, True), (50, True)):
        monkeypatch.setattr(time, "time", lambda seconds=seconds: start + seconds)
        redis.client().delete("heartbeat:scoring")
        for queue in settings.QUEUES:
            if queue != "scoring" or not is_away:
                heartbeat.beat(queue)
        alerts.evaluate_alerts()
        assert not Alert.objects.exists()

    monkeypatch.setattr(time, "time", lambda: start + 63)
    alerts.evaluate_alerts()

    monkeypatch.setattr(time, "time", real_time)
    assert Alert.objects.open().count() == 1


def test_a_log_that_is_stuck_is_one(champion: ModelVersion) -> None:
    redis.client().xadd("predictions:log", {"p": b"x"}, id="1-1")

    alerts.evaluate_alerts()

    found = Alert.objects.get()
    assert str(found.subject) == "Prediction log"
    assert "is stuck: 1 predictions wait" in str(found.message)


def test_what_is_open_comes_first_on_the_page(champion: ModelVersion, client: Client) -> None:
    Alert.objects.create(kind="x", subject="long ago", message="and still so")
    over = [Alert(kind="x", subject=str(n), message="over", resolved_at=timezone.now()) for n in range(100)]
    Alert.objects.bulk_create(over)

    page = client.get("/monitoring/").text

    assert page.index("and still so") < page.index("over", page.index("<h1"))


def test_hostile_words_of_an_error_are_text_on_the_page(champion: ModelVersion, client: Client) -> None:
    load_failures.record(champion.version, "<script>alert(1)</script>")

    alerts.evaluate_alerts()

    page = client.get("/monitoring/").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_one_of_a_failed_job_leads_to_its_run(champion: ModelVersion, client: Client) -> None:
    dataset = Dataset.objects.create(state=State.FAILED, error="no column", finished_at=timezone.now())
    alerts.evaluate_alerts()
    alert = Alert.objects.get(kind="failed job")

    assert f'href="/runs/dataset/{dataset.pk}/"' in client.get(f"/monitoring/alerts/{alert.pk}/").text
    dataset.delete()
    page = client.get(f"/monitoring/alerts/{alert.pk}/")
    assert page.status_code == 200
    assert "/runs/dataset/" not in page.text


def test_the_api_lists_them_newest_first_and_takes_no_others(api: APIClient) -> None:
    Alert.objects.bulk_create([Alert(kind="x", subject=str(n), message="z") for n in range(3)])

    first = api.get("/api/v1/alerts/?page_size=2").json()
    second = api.get(first["next"]).json()

    assert [row["subject"] for row in first["results"] + second["results"]] == ["2", "1", "0"]
    assert first["results"][0].keys() >= {"id", "kind", "subject", "text", "raised_at", "last_seen_at", "resolved_at"}
    assert api.post("/api/v1/alerts/", {}, format="json").status_code == 405


def test_a_kind_that_is_well_is_a_zero_for_prometheus(client: Client) -> None:
    assert 'titanic_alerts_open{kind="artifact"} 0.0' in client.get("/metrics").text


# Rules


def kinds_raised() -> list[str]:
    alerts.evaluate_alerts()
    return sorted(Alert.objects.open().values_list("kind", flat=True))


def _drift(client: Client) -> None:
    drift_state.publish(DriftState("drift", timezone.now(), ["Fare", "Age"], 1))


def _old_data(client: Client) -> None:
    Dataset.objects.update(finished_at=timezone.now() - timedelta(days=31))


def _wrong_half_of_the_time(client: Client) -> None:
    for _ in range(60):
        services.predict(services.parse_one(OWEN))
    log.drain()
    for number, prediction in enumerate(Prediction.objects.all()):
        outcomes.record(prediction.pk, actual=prediction.predicted == bool(number % 2), by=None)
    performance.scheduled_check()


def _new_data(client: Client) -> None:
    AlertRule.objects.filter(kind="new data").update(is_enabled=True)
    Dataset.objects.create(name="x", uri="x", state="succeeded", row_count=101, finished_at=timezone.now())


def _failed_job(client: Client) -> None:
    DriftCheck.objects.create(state="failed", error="no rows")


def _overdue(client: Client) -> None:
    late = timezone.now() - timedelta(hours=2)
    PeriodicTask.objects.filter(name="Check drift").update(last_run_at=late, date_changed=late)


def _errors(client: Client) -> None:
    for _ in range(20):
        client.get("/healthz")
    with patch("titanic_site.context.scopes_of_request", side_effect=ValueError):
        for _ in range(2):
            assert client.get("/datasets/").status_code == 500


def _no_champion(client: Client) -> None:
    ModelVersion.objects.update(stage="retired")
    scorer.reset()


@pytest.mark.parametrize(
    ("happen", "kind", "words"),
    [
        (_drift, "drift", "Fare, Age"),
        (_old_data, "data age", "31 days ago"),
        (_wrong_half_of_the_time, "performance", "on 60 known outcomes is 0.5;"),
        (_new_data, "new data", "since the last training: 101."),
        (_failed_job, "failed job", "no rows"),
        (_overdue, "overdue schedule", "60 minutes late"),
        (_errors, "error rate", "9 % had a server error"),
        (_no_champion, "no champion", "No model is serving"),
    ],
)
def test_each_kind_has_a_rule_that_raises_it(
    champion: ModelVersion, happen: Callable[[Client], None], kind: str, words: str
) -> None:
    assert kinds_raised() == []

    happen(Client(raise_request_exception=False))

    assert kinds_raised() == [kind]
    assert words in str(Alert.objects.get().message)
    AlertRule.objects.update(is_enabled=False)
    assert kinds_raised() == []


def test_a_heartbeat_that_is_switched_off_is_called_so(champion: ModelVersion) -> None:
    PeriodicTask.objects.filter(name="Queue heartbeat: scoring").update(enabled=False)
    redis.client().delete("heartbeat:scoring")

    alerts.evaluate_alerts()

    assert str(Alert.objects.get().message) == "The schedule of the queue heartbeat is switched off for: scoring"


def test_within_the_cool_down_none_is_raised_again(champion: ModelVersion) -> None:
    AlertRule.objects.update(cooldown_minutes=1)
    load_failures.record(champion.version, "broken")
    assert kinds_raised() == ["artifact"]
    load_failures.clear(champion.version)
    assert kinds_raised() == []
    load_failures.record(champion.version, "broken")
    assert kinds_raised() == []

    Alert.objects.update(resolved_at=timezone.now() - timedelta(minutes=2))

    assert kinds_raised() == ["artifact"]


def test_one_that_a_person_resolved_is_not_raised_again_before_its_reason_is_gone(
    champion: ModelVersion, client: Client
) -> None:
    load_failures.record(champion.version, "broken")
    alerts.evaluate_alerts()
    alert = Alert.objects.get()

    client.post(f"/monitoring/alerts/{alert.pk}/resolve/", {"note": "known"})

    assert kinds_raised() == []
    load_failures.clear(champion.version)
    assert kinds_raised() == []
    load_failures.record(champion.version, "broken")
    assert kinds_raised() == ["artifact"]


def test_what_a_person_edited_stays(db: None) -> None:
    AlertRule.objects.filter(kind="drift").update(severity="info", is_enabled=False)

    AlertRule.objects.create_missing()

    assert AlertRule.objects.count() == len(Kind)
    assert AlertRule.objects.filter(kind="drift", severity="info", is_enabled=False).exists()


def test_a_person_acknowledges_one(api: APIClient, client: Client) -> None:
    first, second = (Alert.objects.create(kind="drift", subject=name, message="x") for name in "ab")

    answer = api.post(f"/api/v1/alerts/{first.pk}/acknowledge/", {"note": "on it"}, format="json")
    client.post(f"/monitoring/alerts/{second.pk}/acknowledge/", {"note": "<b>mine</b>"})

    body = answer.json()
    assert (body["state"], body["acknowledged_by"], body["acknowledged_note"]) == ("acknowledged", "caller", "on it")
    assert AuditEntry.objects.filter(action="acknowledged", object_kind="alert").count() == 2
    assert "&lt;b&gt;mine" in client.get(f"/monitoring/alerts/{second.pk}/").text
    for url in (f"/api/v1/alerts/{first.pk}/acknowledge/", f"/monitoring/alerts/{first.pk}/acknowledge/"):
        assert (api if "api" in url else client).post(url).status_code == 409


@pytest.mark.parametrize("note", ["x" * 501, "\0"])
def test_a_note_that_cannot_be_kept_is_named(api: APIClient, client: Client, note: str) -> None:
    alert = Alert.objects.create(kind="drift", subject="a", message="x")

    answer = api.post(f"/api/v1/alerts/{alert.pk}/acknowledge/", {"note": note}, format="json")
    assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, "note")
    for change in ("acknowledge", "resolve"):
        page = client.post(f"/monitoring/alerts/{alert.pk}/{change}/", {"note": note})
        assert (page.status_code, "field__error" in page.text) == (400, True)
    assert Alert.objects.in_state("open").exists()


def test_they_are_filtered_alike_on_the_page_and_in_the_api(api: APIClient, client: Client) -> None:
    now = timezone.now()
    Alert.objects.create(kind="drift", subject="new one", message="x", severity="critical")
    Alert.objects.create(kind="parity", subject="seen one", message="x", acknowledged_at=now)
    Alert.objects.create(kind="parity", subject="old one", message="x", acknowledged_at=now, resolved_at=now)

    for query, subjects in {
        "": ["old one", "seen one", "new one"], "state=open": ["new one"], "state=acknowledged": ["seen one"],
        "state=resolved": ["old one"], "kind=parity&severity=warning": ["old one", "seen one"],
        "severity=critical": ["new one"], "kind=artifact": [],
    }.items():  # fmt: skip
        rows = api.get(f"/api/v1/alerts/?{query}").json()["results"]
        page = client.get(f"/monitoring/alerts/?{query}").text
        assert [row["subject"] for row in rows] == subjects
        assert [name in page for name in ("new one", "seen one", "old one")] == [
            name in subjects for name in ("new one", "seen one", "old one")
        ]
    for query in ("state=x", "kind=%00", "severity=x&state=resolved"):
        assert api.get(f"/api/v1/alerts/?{query}").status_code == 400
        assert client.get(f"/monitoring/alerts/?{query}").status_code == 400


def test_texts_are_in_the_readers_language(champion: ModelVersion, client: Client) -> None:
    load_failures.record(champion.version, "100 % <broken>")
    DeadLetter.objects.create(entry_id="1-1", raw=b"x", error="x", attempts=3)
    alerts.evaluate_alerts()
    spanish = {"accept-language": "es"}

    page = client.get(Alert.objects.get(kind="artifact").get_absolute_url(), headers=spanish).text
    listed = client.get("/monitoring/alerts/", headers=spanish).text

    assert "Registro de predicciones" in listed
    assert "Su archivo no debe ponerse en servicio: 100 % &lt;broken&gt;." in page


def test_an_operator_edits_a_rule(client: Client, champion: ModelVersion) -> None:
    rule = AlertRule.objects.get(kind="data age")
    url = rule.get_absolute_url()
    values = {"is_enabled": "on", "severity": "info", "threshold": "7.5", "delay_seconds": "0", "cooldown_minutes": "0"}
    assert "Days since the newest labelled table" in client.get(url).text

    assert client.post(url, values).status_code == 302

    rule.refresh_from_db()
    assert (rule.severity, rule.threshold) == ("info", 7.5)
    changed = AuditEntry.objects.get(action="changed")
    assert (changed.before, changed.after) == (
        {"severity": "warning", "threshold": "30.0"}, {"severity": "info", "threshold": "7.5"},
    )  # fmt: skip
    wrong = {
        "severity": "x",
        "threshold": "-1",
        "delay_seconds": "1e9",
        "cooldown_minutes": "",
        "silenced_until": "soon",
    }
    for name, value in wrong.items():
        answer = client.post(url, {**values, name: value})
        assert (answer.status_code, "field__error" in answer.text) == (400, True), name
    assert client.post(url, {**values, "threshold": "nan"}).status_code == 400
    assert "retrains" not in client.get(url).text
    assert "retrains" in client.get(AlertRule.objects.get(kind="drift").get_absolute_url()).text


def test_a_rule_is_silenced_from_an_alert(client: Client, db: None) -> None:
    alert = Alert.objects.create(kind="drift", subject="x", message="x")
    url = f"/monitoring/alerts/{alert.pk}/silence/"

    client.post(url, {"hours": "24"})

    until = AlertRule.objects.get(kind="drift").silence
    assert until is not None
    assert until - timezone.now() > timedelta(hours=23)
    assert "End the silence" in client.get(alert.get_absolute_url()).text
    assert "Silenced" in client.get("/monitoring/alerts/rules/").text
    client.post(url, {"hours": "0"})
    assert AlertRule.objects.get(kind="drift").silence is None
    for hours in ("", "2", "-1", "1e3", "\0"):
        assert client.post(url, {"hours": hours}).status_code == 400
