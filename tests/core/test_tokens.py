"""Tokens: hashed, scoped, expiring, remembered for seconds, made by command or in the admin."""

import time
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.template import engines
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from core import tokens
from tests.people import OWEN
from tests.users import make_user
from titanic_site.models import AccessToken
from training.models import ModelVersion


def _client(token: str) -> APIClient:
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    return client


@pytest.fixture
def made(champion: ModelVersion, django_user_model: Any) -> Any:
    """Makes tokens of one user."""
    user = make_user("caller")
    return lambda **fields: AccessToken.objects.create(user, **fields)[1]


def test_a_token_to_predict_asks_and_looks_and_operates_nothing(made: Any) -> None:
    client = _client(made(can_operate=False))

    assert client.post("/api/v1/predictions/", OWEN, format="json").status_code == 201
    assert client.get("/api/v1/models/").status_code == 200
    refused = client.post("/api/v1/models/rollback/")
    assert refused.status_code == 403
    assert "operate" in refused.json()["errors"][0]["detail"]
    for address in ("training-runs/", "drift-checks/", "datasets/", "feature-batches/", "models/1/promote/"):
        assert client.post(f"/api/v1/{address}", {}, format="json").status_code == 403, address


def test_a_token_to_operate_does_not_predict(made: Any) -> None:
    client = _client(made(can_predict=False))

    assert client.post("/api/v1/predictions/", OWEN, format="json").status_code == 403
    assert client.post("/api/v1/predictions/batch/", {"instances": [OWEN]}, format="json").status_code == 403
    assert client.post("/api/v1/drift-checks/").status_code == 202


def test_an_expired_token_is_refused_at_once(made: Any) -> None:
    token = made(expiry=timedelta(hours=1))
    client = _client(token)
    assert client.get("/api/v1/models/").status_code == 200

    for seen in tokens._cache.values():
        seen.token.expiry = timezone.now() - timedelta(seconds=1)
    AccessToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))

    assert client.get("/api/v1/models/").status_code == 401


def test_a_token_seen_a_moment_ago_costs_no_query(made: Any, django_assert_num_queries: Any) -> None:
    client = _client(made())
    client.post("/api/v1/predictions/", OWEN, format="json")

    with django_assert_num_queries(0):
        assert client.post("/api/v1/predictions/", OWEN, format="json").status_code == 201


def test_a_revoked_token_is_refused_when_it_is_looked_up_again(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client = _client(made())
    client.get("/api/v1/models/")
    AccessToken.objects.filter(user__username="caller").delete()
    monkeypatch.setattr(tokens, "CACHE_SECONDS", 0.0)

    assert client.get("/api/v1/models/").status_code == 401
    assert client.get("/api/v1/models/").status_code == 401


def test_while_postgres_is_away_a_known_token_still_asks(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client = _client(made())
    client.post("/api/v1/predictions/", OWEN, format="json")
    monkeypatch.setattr(tokens, "CACHE_SECONDS", 0.0)

    def away(*_: Any) -> Any:
        raise DatabaseError("the server closed the connection")

    with connection.execute_wrapper(away):
        assert client.post("/api/v1/predictions/", OWEN, format="json").status_code == 201
        monkeypatch.setattr(tokens, "CACHE_SECONDS_WITHOUT_DATABASE", 0.0)
        assert client.post("/api/v1/predictions/", OWEN, format="json").status_code in (500, 503)


def test_while_postgres_is_away_it_is_said_once_a_second_in_one_line(
    made: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = _client(made())
    client.post("/api/v1/predictions/", OWEN, format="json")
    monkeypatch.setattr(tokens, "CACHE_SECONDS", 0.0)
    monkeypatch.setattr(tokens.CachedTokenAuthentication, "_warned_at", 0.0)

    def away(*_: Any) -> Any:
        raise DatabaseError("connection failed:\n\tis the server running?\n")

    now = time.monotonic()
    with connection.execute_wrapper(away):
        for moment in (now, now + 0.5, now + 0.9, now + 1.1):
            monkeypatch.setattr(tokens, "time", SimpleNamespace(monotonic=lambda at=moment: at))
            assert client.post("/api/v1/predictions/", OWEN, format="json").status_code == 201

    said = [record.message for record in caplog.records if record.name == tokens.__name__]
    assert len(said) == 2
    assert said[0].endswith("in the cache: connection failed: is the server running?")


@pytest.mark.parametrize("header", ["Token", "Token a b", "Token ä", "Token " + "x" * 10_000, "Bearer x", "Token \x00"])
def test_a_header_that_is_no_token_is_refused(header: str, db: None) -> None:
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=header.encode().decode("latin-1"))

    assert client.get("/api/v1/models/").status_code == 401


def test_the_command_makes_a_token_of_one_scope_that_expires(django_user_model: Any, db: None) -> None:
    make_user("caller")
    out = StringIO()

    call_command("create_token", "caller", "--scope", "predict", "--days", "30", "--note", "shop", stdout=out)

    token = AccessToken.objects.get()
    assert (token.can_predict, token.can_operate, token.note) == (True, False, "shop")
    assert token.expiry is not None
    assert timedelta(days=29) < token.expiry - timezone.now() < timedelta(days=31)
    assert out.getvalue().strip().startswith(token.token_key)


@pytest.mark.parametrize("days", ["0", "-1", "99999999"])
def test_the_command_refuses_days_that_are_none(days: str, django_user_model: Any, db: None) -> None:
    make_user("caller")

    with pytest.raises(CommandError):
        call_command("create_token", "caller", f"--days={days}")
    assert not AccessToken.objects.exists()


@pytest.mark.ignore_template_errors
def test_the_admin_makes_a_token_shows_it_once_and_revokes_it(
    champion: ModelVersion, admin_client: Client, django_user_model: Any
) -> None:
    user = make_user("shop")
    asked = {"user": user.pk, "note": "till", "can_predict": "on", "expiry_0": "2126-01-01", "expiry_1": "00:00:00"}

    page = admin_client.post("/admin/titanic_site/accesstoken/add/", asked, follow=True)

    made = AccessToken.objects.get(user=user)
    shown = next(str(message) for message in page.context["messages"] if "shown this once" in str(message))
    token = shown.rpartition(" ")[2]
    assert (made.note, made.can_predict, made.can_operate, made.expiry.year) == ("till", True, False, 2126)
    assert _client(token).post("/api/v1/predictions/", OWEN, format="json").status_code == 201
    assert token not in admin_client.get("/admin/titanic_site/accesstoken/").content.decode()

    ended = admin_client.post(
        f"/admin/titanic_site/accesstoken/{made.pk}/change/", {**asked, "expiry_0": "2020-01-01"}, follow=True
    )
    made.refresh_from_db()
    assert (ended.status_code, made.expiry.year) == (200, 2020)

    admin_client.post(f"/admin/titanic_site/accesstoken/{made.pk}/delete/", {"post": "yes"})
    tokens.clear_cache()
    assert _client(token).get("/api/v1/models/").status_code == 401


@pytest.mark.ignore_template_errors
def test_nobody_makes_a_token_last_longer_than_it_was_given(client: Client, db: None) -> None:
    owner = make_user("owner", is_staff=True)
    client.force_login(owner)
    token, _text = AccessToken.objects.create(owner, expiry=timedelta(days=2))
    page, form = f"/admin/titanic_site/accesstoken/{token.pk}/change/", {"can_read": "on", "expiry_1": "00:00:00"}

    for day in ("2126-01-01", ""):
        late = client.post(page, {**form, "expiry_0": day, "expiry_1": day and "00:00:00"})
        assert "brought forward" in str(late.context["adminform"].form.errors["expiry"])
    tomorrow = timezone.now() + timedelta(days=1)
    assert client.post(page, {**form, "expiry_0": f"{tomorrow:%Y-%m-%d}"}).status_code == 302

    token.refresh_from_db()
    assert token.expiry is not None
    assert token.expiry.date() == tomorrow.date()


def test_the_admin_refuses_a_token_that_has_expired_already(
    admin_client: Client, admin_user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The theme counts errors in a variable that is not always there: nothing, where the product runs.
    monkeypatch.setattr(engines["django"].engine, "string_if_invalid", "")  # type: ignore[attr-defined]
    asked = {"user": admin_user.pk, "can_predict": "on", "expiry_0": "2020-01-01", "expiry_1": "00:00:00"}

    page = admin_client.post("/admin/titanic_site/accesstoken/add/", asked)

    assert page.context["adminform"].form.errors == {"expiry": ["Must be in the future."]}
    assert not AccessToken.objects.exists()
