"""The access log: who requested what, from where, and how it was answered."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import MiddlewareNotUsed
from django.db import OperationalError
from django.http import HttpResponse
from django.test import Client

from tests.people import ELISABETH
from titanic_site.access_log import access_log
from titanic_site.models import AccessToken
from training.models import ModelVersion

pytestmark = pytest.mark.django_db
FIELDS = ("method", "path", "status", "user", "address")


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger = logging.getLogger("titanic_site.access_log")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def entries(log: pytest.LogCaptureFixture) -> list[tuple[Any, ...]]:
    records = [record for record in log.records if record.name == "titanic_site.access_log"]
    return [tuple(getattr(record, name) for name in FIELDS) for record in records]


def test_it_works(champion: ModelVersion, admin_user: User, log: pytest.LogCaptureFixture) -> None:
    token = AccessToken.objects.create(admin_user)[1]
    api = Client(REMOTE_ADDR="192.0.2.7", headers={"Authorization": f"Token {token}"})

    api.post("/api/v1/predictions/", ELISABETH, content_type="application/json")

    assert entries(log) == [("POST", "/api/v1/predictions/", 201, str(admin_user.pk), "192.0.2.7")]
    text = log.records[-1].getMessage()
    assert text.startswith("POST /api/v1/predictions/ 201 ")
    assert 0 < vars(log.records[-1])["duration_ms"] < 60_000
    assert token not in text
    assert "Allen" not in text


def test_who_is_signed_in_is_named_by_number(admin_user: User, log: pytest.LogCaptureFixture, settings: Any) -> None:
    settings.LOGIN_REQUIRED = True
    client = Client()
    client.get("/overview/")
    client.force_login(admin_user)
    client.get("/overview/")
    client.post("/accounts/logout/")

    assert [(path, status, user) for _method, path, status, user, _address in entries(log)] == [
        ("/overview/", 302, None), ("/overview/", 200, str(admin_user.pk)), ("/accounts/logout/", 302, None),
    ]  # fmt: skip


def test_no_line_costs_a_query_or_fails_without_a_database(
    admin_user: User, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(_self: SessionStore) -> None:
        raise OperationalError

    client = Client()
    client.force_login(admin_user)
    monkeypatch.setattr(SessionStore, "load", unavailable)

    client.get("/overview/")
    client.get("/nowhere/")

    assert [(status, user) for _method, _path, status, user, _address in entries(log)] == [(503, None), (404, None)]


@pytest.mark.parametrize("path", ["/healthz", "/metrics"])
def test_what_programs_watch_is_no_line(path: str, log: pytest.LogCaptureFixture) -> None:
    Client().get(path)

    assert entries(log) == []


@pytest.mark.parametrize(
    ("requested", "logged"),
    [
        ("/accounts/reset/MQ/cxyz12-0123456789abcdef/", "/accounts/reset/MQ/…/"),
        ("/accounts/reset/MQ/cxyz12-0123456789abcdef", "/accounts/reset/MQ/…"),
        ("//accounts/reset/MQ/cxyz12-0123456789abcdef/", "//accounts/reset/MQ/…/"),
        ("/nowhere/?key=secret", "/nowhere/"),
        ("/" + "a" * 5000, "/" + "a" * 499),
    ],
)
def test_a_path_keeps_no_secret_and_has_an_end(requested: str, logged: str, log: pytest.LogCaptureFixture) -> None:
    path, _question, query = requested.partition("?")
    Client().get("/", PATH_INFO=path, QUERY_STRING=query)

    assert [path for _method, path, *_rest in entries(log)] == [logged]


def test_it_can_be_off(settings: Any) -> None:
    settings.ACCESS_LOG = False

    with pytest.raises(MiddlewareNotUsed):
        access_log(lambda _request: HttpResponse())
