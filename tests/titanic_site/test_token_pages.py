"""The page of API tokens: made with no more than the role permits, shown once, revoked after a question."""

import re
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from core.models import AuditEntry
from tests.users import make_user
from titanic_site.models import AccessToken

pytestmark = pytest.mark.usefixtures("login_required")

NEW = {"note": "nightly job", "granted": ["read"], "days": "30"}


def _client(name: str, role: str | None) -> Client:
    client = Client()
    client.force_login(make_user(name, role))
    return client


@pytest.fixture
def analyst(db: None) -> Client:
    return _client("purser", "analyst")


def test_a_token_is_made_shown_once_and_works(analyst: Client) -> None:
    made = analyst.post("/tokens/", NEW)

    row = AccessToken.objects.get()
    token = re.search(r'id="token">(\w+)<', made.text)
    assert token is not None
    assert f"Authorization: Token {token[1]}" in made.text.replace("&quot;", '"')
    assert made.headers["Cache-Control"].startswith("max-age=0")
    assert (row.note, row.granted, row.expiry is not None) == ("nightly job", {"read"}, True)
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=f"Token {token[1]}")
    assert api.get("/api/v1/models/").status_code == 200
    assert api.post("/api/v1/drift-checks/").status_code == 403
    later = analyst.get("/tokens/").text
    assert token[1] not in later
    assert f"{row.token_key}…" in later
    assert AuditEntry.objects.get(action="added", object_kind="access token").after["scopes"] == "read"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"note": ""}, "note"),
        ({"note": "x" * 101}, "note"),
        ({"note": "\0"}, "note"),
        ({"granted": []}, "granted"),
        ({"granted": ["operate"]}, "granted"),
        ({"granted": ["read", "admin"]}, "granted"),
        ({"days": "31"}, "days"),
        ({"days": "-1"}, "days"),
    ],
)
def test_a_wrong_value_is_named_at_its_field(analyst: Client, values: dict[str, Any], field: str) -> None:
    answer = analyst.post("/tokens/", {**NEW, **values})

    assert answer.status_code == 400
    assert list(answer.context["form"].errors) == [field]
    assert f'id="id_{field}_error"' in answer.text
    assert not AccessToken.objects.exists()


def test_a_token_is_revoked_after_a_question(analyst: Client) -> None:
    analyst.post("/tokens/", NEW)
    url = f"/tokens/{AccessToken.objects.get().pk}/revoke/"

    assert "stops working" in analyst.get(url).text
    assert AccessToken.objects.exists()
    assert "is revoked" in analyst.post(url, follow=True).text
    assert not AccessToken.objects.exists()
    assert AuditEntry.objects.filter(action="deleted", object_kind="access token").exists()
    assert analyst.post(url).status_code == 404


def test_others_tokens_are_an_administrators(analyst: Client) -> None:
    analyst.post("/tokens/", NEW)
    url = f"/tokens/{AccessToken.objects.get().pk}/revoke/"

    operator, administrator = _client("mate", "operator"), _client("captain", "administrator")
    assert "nightly job" not in operator.get("/tokens/").text
    assert operator.get(url).status_code == operator.post(url).status_code == 404
    assert "nightly job" in administrator.get("/tokens/").text
    assert administrator.post(url).status_code == 302


def test_who_has_no_role_or_no_account_makes_none(db: None, settings: Any) -> None:
    assert _client("stowaway", None).post("/tokens/", NEW).status_code == 403
    assert Client().post("/tokens/", NEW).status_code == 302
    settings.LOGIN_REQUIRED = False
    assert Client().get("/tokens/").status_code == 200
    assert Client().post("/tokens/", NEW).status_code == 403
    assert not AccessToken.objects.exists()
