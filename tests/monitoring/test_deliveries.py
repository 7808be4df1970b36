"""People are notified of alerts: by webhook and mail, in one message, again where that fails, and by whoever we say."""

import hmac
import json
import time
from collections.abc import Iterator
from hashlib import sha256
from threading import Thread
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from core import moments, redis
from monitoring import alerts, deliveries, tasks
from monitoring.models import Alert, AlertRule, Delivery
from predictions.models import DeadLetter
from tests import mail_server, servers


@pytest.fixture(autouse=True)
def _rules(db: None) -> None:
    AlertRule.objects.create_missing()
    AlertRule.objects.update(cooldown_minutes=0)


@pytest.fixture
def hook(settings: Any) -> Iterator[servers.Server]:
    with servers.serving() as server:
        server.answers = [servers.reply(204)]
        settings.ALERT_WEBHOOK_URL = f"{server.address}/hook?key=secret"
        yield server


@pytest.fixture
def inbox(settings: Any) -> Iterator[mail_server.Inbox]:
    with mail_server.serving() as inbox:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", inbox.port, 2
        settings.ALERT_EMAILS, settings.SITE_URL = ["ann@example.org", "bob@example.org"], "https://titanic.example.org"
        yield inbox


def raise_one() -> Alert:
    DeadLetter.objects.create(entry_id="1-1", raw=b"x", error="x", attempts=3)
    alerts.evaluate_alerts()
    return Alert.objects.get()


def end_it() -> None:
    DeadLetter.objects.all().delete()
    alerts.evaluate_alerts()


def test_the_webhook_is_told_when_one_is_raised_and_when_it_is_resolved(hook: servers.Server) -> None:
    raise_one()
    told = [deliveries.deliver(), deliveries.deliver()]
    end_it()
    told += [deliveries.deliver(), deliveries.deliver()]

    raised, resolved = map(json.loads, hook.bodies)
    alert = Alert.objects.get()
    assert told == [1, 0, 1, 0]
    assert (raised["event"], resolved["event"]) == ("raised", "resolved")
    (row,) = raised["alerts"]
    assert (row["kind"], row["subject"], row["text"]) == (alert.kind, str(alert.subject), str(alert.message))
    assert (row["resolved_at"], row["url"]) == (None, f"http://127.0.0.1:8000/monitoring/alerts/{alert.pk}/")
    assert resolved["alerts"][0]["resolved_at"]
    method, path, headers = hook.asked[0]
    assert (method, path, headers["Content-Type"]) == ("POST", "/hook?key=secret", "application/json")
    assert "X-Titanic-Signature" not in headers


def test_with_a_secret_the_body_and_its_time_are_signed(hook: servers.Server, settings: Any) -> None:
    settings.ALERT_WEBHOOK_SECRET = "iceberg"
    raise_one()

    deliveries.deliver()

    headers, body = hook.asked[0][2], hook.bodies[0]
    signed = f"{headers['X-Titanic-Timestamp']}.".encode() + body
    assert headers["X-Titanic-Signature"] == "sha256=" + hmac.new(b"iceberg", signed, sha256).hexdigest()
    assert abs(int(headers["X-Titanic-Timestamp"]) - time.time()) < 60


def test_a_mail_says_what_since_when_what_to_do_and_where(inbox: mail_server.Inbox, settings: Any) -> None:
    alert = raise_one()
    deliveries.deliver()
    end_it()
    settings.ALERT_LANGUAGE, settings.ALERT_TIME_ZONE = "es", "Europe/Madrid"
    deliveries.deliver()

    raised, resolved = inbox.mails
    text = raised.get_payload(decode=True).decode()
    assert raised["Subject"] == "Titanic MLOps: 1 alert: Prediction log"
    assert raised["To"] == "ann@example.org, bob@example.org"
    assert str(alert.message) in text
    assert f"Since {moments.shown(alert.raised_at, 'seconds zone')}." in text
    assert "What to do: Correct the cause" in text
    assert f"https://titanic.example.org/monitoring/alerts/{alert.pk}/" in text
    assert resolved["Subject"].startswith("Titanic MLOps: Resuelta: ")
    text = resolved.get_payload(decode=True).decode()
    assert "CE" in text
    assert "Qué hacer" not in text


def test_hostile_words_are_one_header_and_plain_text(inbox: mail_server.Inbox) -> None:
    subject = "x\r\nBcc: evil@example.org"
    Alert.objects.create(kind="drift", subject=subject, message="%s %(x)s <b>\r\n.\r\nQUIT é")
    deliveries.plan(Alert.objects.all(), is_resolved=False)

    assert deliveries.deliver() == 1
    (mail,) = inbox.mails
    assert (mail["Bcc"], mail["Subject"]) == (None, "Titanic MLOps: 1 alert: x Bcc: evil@example.org")
    assert mail.get_content_type() == "text/plain"
    assert inbox.recipients == ["ann@example.org", "bob@example.org"]
    assert "<b>" in mail.get_payload(decode=True).decode()


def test_what_is_raised_together_is_one_message(hook: servers.Server, inbox: mail_server.Inbox) -> None:
    Alert.objects.bulk_create([Alert(kind="failed job", subject=str(number), message="x") for number in range(3)])
    deliveries.plan(Alert.objects.filter(kind="failed job"), is_resolved=False)

    assert deliveries.deliver() == 2

    assert [row["subject"] for row in json.loads(hook.bodies[0])["alerts"]] == ["0", "1", "2"]
    assert inbox.mails[0]["Subject"] == "Titanic MLOps: 3 alerts: 0, 1, 2"


def test_while_a_rule_is_silenced_nobody_is_told_and_after_it_of_what_is_open(hook: servers.Server) -> None:
    rule = AlertRule.objects.get(kind="dead letter")
    alerts.silence(rule, hours=1)
    raise_one()
    end_it()
    DeadLetter.objects.create(entry_id="1-2", raw=b"x", error="x", attempts=3)
    alerts.evaluate_alerts()
    assert not Delivery.objects.exists()

    alerts.silence(rule, hours=0)
    alerts.evaluate_alerts()

    assert Delivery.objects.get().alerts.get() == Alert.objects.open().get()


def test_without_a_channel_nobody_is_told() -> None:
    raise_one()

    assert deliveries.deliver() == 0
    assert not Delivery.objects.exists()


@pytest.mark.parametrize("status", [500, 404, 302])
def test_a_webhook_in_trouble_is_told_again_later(
    hook: servers.Server,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    caplog: pytest.LogCaptureFixture,
    client: Client,
) -> None:
    monkeypatch.setattr(deliveries, "RETRY_DELAYS", (0.0, 60.0))
    hook.answers = [servers.reply(status, Location="/elsewhere")]
    alert = raise_one()

    told = [deliveries.deliver() for _ in range(3)]

    assert told == [0, 0, 0]
    assert hook.methods == ["POST", "POST"]
    assert f"status {status}" in caplog.text
    assert "secret" not in caplog.text
    rows = [(row.number, row.error, row.tried_at is None) for row in alert.deliveries.all()]
    assert rows == [(3, "", True), (2, f"status {status}", False), (1, f"status {status}", False)]
    assert f"status {status}" in client.get(alert.get_absolute_url()).text


@pytest.mark.parametrize(("answer", "error"), [("451 later", "SMTPDataError"), ("554 never", "SMTPDataError")])
def test_a_mail_server_that_refuses_is_tried_again(inbox: mail_server.Inbox, answer: str, error: str) -> None:
    inbox.answer = answer
    raise_one()

    assert deliveries.deliver() == 0

    following, failed = Delivery.objects.all()
    assert (failed.error, following.number, following.tried_at) == (error, 2, None)
    assert following.due_at > timezone.now()


def test_after_the_last_try_it_is_left_alone_until_something_changes(
    hook: servers.Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deliveries, "RETRY_DELAYS", (0.0,))
    hook.answers = [servers.reply(500), servers.reply(500), servers.reply(204)]
    raise_one()
    told = [deliveries.deliver() for _ in range(3)]
    end_it()
    told.append(deliveries.deliver())

    assert told == [0, 0, 0, 1]
    assert "the last" in caplog.text
    assert len(hook.bodies) == 3


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/secret", "http://no-such-host.invalid/secret"])
def test_a_webhook_that_is_not_there_holds_up_nothing_and_its_address_is_not_told(
    settings: Any, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ALERT_WEBHOOK_URL = address
    raise_one()

    assert deliveries.deliver() == 0
    assert "ConnectionError" in caplog.text
    assert "secret" not in caplog.text


def test_a_mail_server_that_is_not_there_holds_up_no_webhook(
    inbox: mail_server.Inbox, hook: servers.Server, settings: Any
) -> None:
    settings.EMAIL_PORT = 1
    raise_one()

    assert deliveries.deliver() == 1
    assert Delivery.objects.get(channel="email", number=1).error == "ConnectionRefusedError"


def test_a_webhook_that_hangs_is_given_up_soon(
    hook: servers.Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deliveries, "TIMEOUT", (0.2, 0.2))
    hook.answers = [servers.hang]
    raise_one()

    assert deliveries.deliver() == 0
    assert "ReadTimeout" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_of_two_senders_one_tells(hook: servers.Server) -> None:
    for number in range(10):
        deliveries.plan([Alert.objects.create(kind="x", subject=str(number), message="y")], is_resolved=False)

    def tell() -> None:
        deliveries.deliver()
        connection.close()

    threads = [Thread(target=tell) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    told = [row["subject"] for body in hook.bodies for row in json.loads(body)["alerts"]]
    assert sorted(told) == sorted(map(str, range(10)))


@pytest.mark.django_db(transaction=True)
def test_one_that_is_resolved_while_it_is_told_is_told_again(hook: servers.Server) -> None:
    raise_one()

    def resolve_meanwhile(handler: Any) -> None:
        end_it()
        connection.close()
        servers.reply(204)(handler)

    hook.answers = [resolve_meanwhile, servers.reply(204)]
    told = [deliveries.deliver(), deliveries.deliver(), deliveries.deliver()]

    assert told == [1, 1, 0]
    assert [json.loads(body)["event"] for body in hook.bodies] == ["raised", "resolved"]


def test_the_task_leaves_telling_to_another_queue(hook: servers.Server) -> None:
    DeadLetter.objects.create(entry_id="1-1", raw=b"x", error="x", attempts=3)

    tasks.evaluate_alerts()

    assert redis.client().llen("default") == 1
    assert hook.bodies == []
