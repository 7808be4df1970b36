"""Who may see what before signing in, and the link that `up` prints."""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import patch
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import connections
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver
from django_htmx.middleware import HtmxDetails

from tests.people import OWEN
from tests.services import postgres_away
from titanic_site.middleware import AccessMiddleware
from titanic_site.runtime import start_link
from training.models import ModelVersion

PUBLIC = {
    "home", "predict", "healthz", "readyz", "metrics", "login", "start_link", "set_language", "display",
    "check_form", "favicon.ico",
    "password_reset", "password_reset_done", "password_reset_confirm", "password_reset_complete", "admin:login",
}  # fmt: skip
#: They ask for tokens of their own, or say nothing of anybody.
API_PATHS = ("api/v1/", "v2")


@pytest.fixture
def admin(db: None, settings: Any) -> User:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return User.objects.create_superuser("admin", password="iceberg")


def _link() -> str:
    found = start_link.path()
    assert found
    return found


def _is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def _patterns(resolver: URLResolver, path: str = "", space: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in resolver.url_patterns:
        where = path + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern, where, space + f"{pattern.namespace}:" if pattern.namespace else space)
        elif not where.removeprefix("^").startswith(API_PATHS):
            yield space + (pattern.name or where), pattern


@pytest.mark.usefixtures("login_required")
def test_every_page_that_is_not_on_the_list_leads_to_the_sign_in_page() -> None:
    request: Any = RequestFactory().get("/where/one/was/")
    request.user, request.htmx = AnonymousUser(), HtmxDetails(request)
    door = AccessMiddleware(lambda _request: HttpResponse())

    answers = {name: door.process_view(request, page.callback, (), {}) for name, page in _patterns(get_resolver())}

    assert {name for name, answer in answers.items() if answer is None} == PUBLIC
    closed = [answer for answer in answers.values() if answer is not None]
    assert len(closed) > 100
    assert {answer["Location"] for answer in closed} == {
        f"/{page}/login/?next=/where/one/was/" for page in ("accounts", "admin")
    }


@pytest.mark.usefixtures("login_required")
def test_an_old_address_of_the_api_asks_for_no_session(client: Client) -> None:
    answer = client.get("/api/v1/models/reigns/?at=2026-01-01")

    assert (answer.status_code, answer["Location"]) == (301, "/api/v1/models/history/?at=2026-01-01")


class TestLink:
    def test_it_works(self, client: Client, admin: User, caplog: pytest.LogCaptureFixture) -> None:
        link = _link()

        with caplog.at_level(logging.INFO):
            answer = client.get(link)

        assert answer["Location"] == "/overview/"
        assert client.session["_auth_user_id"] == str(admin.pk)
        assert "admin signed in from 127.0.0.1 by the link" in caplog.text
        assert link.partition("token=")[2] not in caplog.text

    def test_a_used_one_is_void(self, client: Client, admin: User) -> None:
        link = _link()
        Client().get(link)

        answer = client.get(link, follow=True)

        assert answer.status_code == 200
        assert answer.redirect_chain == [("/accounts/login/?next=/overview/", 302)]
        assert "This link has been used, has expired" in answer.text
        assert not _is_signed_in(client)

    def test_who_is_signed_in_already_opens_a_used_one_without_a_word(self, client: Client, admin: User) -> None:
        link = _link()
        client.get(link)

        assert client.get(link)["Location"] == "/overview/"

    def test_of_two_at_once_one_is_signed_in(self, transactional_db: None, admin: User) -> None:
        link = _link()

        def opened(_turn: int) -> bool:
            client = Client()
            client.get(link)
            is_signed_in = _is_signed_in(client)
            connections.close_all()
            return is_signed_in

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(opened, range(4))) == [False, False, False, True]

    @pytest.mark.parametrize(("seconds", "is_good"), [(3_590, True), (3_602, False)])
    def test_it_is_good_for_an_hour(self, client: Client, admin: User, seconds: float, is_good: bool) -> None:
        with patch("time.time", return_value=time.time() - seconds):
            link = _link()

        client.get(link)

        assert _is_signed_in(client) == is_good

    @pytest.mark.parametrize("token", ["", "x", "a:b:c", "\x00", "%F0%9F%9A%A2", "dfmz8r-abcdef:1wX:sig"])
    def test_a_forged_one_is_refused(self, client: Client, admin: User, token: str) -> None:
        answer = client.get("/accounts/link/", {"token": token})

        assert answer["Location"].startswith("/accounts/login/")
        assert not _is_signed_in(client)

    def test_another_key_makes_another_link(self, client: Client, admin: User, settings: Any) -> None:
        link = _link()
        settings.SECRET_KEY = "another"

        client.get(link)

        assert not _is_signed_in(client)

    @pytest.mark.parametrize("right", ["is_active", "is_superuser"])
    def test_it_is_only_for_an_administrator(self, client: Client, admin: User, right: str) -> None:
        link = _link()
        setattr(admin, right, False)
        admin.save()

        client.get(link)

        assert not _is_signed_in(client)
        assert start_link.path() is None

    @pytest.mark.parametrize(
        ("wanted", "target"),
        [
            ("/datasets/?page=2", "/datasets/?page=2"),
            ("https://elsewhere.example/", "/overview/"),
            ("//elsewhere.example", "/overview/"),
            ("javascript:alert(1)", "/overview/"),
        ],
    )
    def test_it_leads_on_but_to_no_other_host(self, client: Client, admin: User, wanted: str, target: str) -> None:
        assert client.get(f"{_link()}&{urlencode({'next': wanted})}")["Location"] == target

    def test_looking_at_it_does_not_use_it_up(self, client: Client, admin: User) -> None:
        link = _link()

        assert client.head(link).status_code == 405
        client.get(link)

        assert _is_signed_in(client)


@pytest.mark.usefixtures("login_required")
class TestVisitor:
    def test_the_password_leads_back_to_the_page(self, client: Client, admin: User) -> None:
        at = client.get("/runs/?before=x")["Location"]

        answer = client.post(at, {"username": "admin", "password": "iceberg", "next": "/runs/?before=x"})

        assert at == "/accounts/login/?next=/runs/%3Fbefore%3Dx"
        assert answer["Location"] == "/runs/?before=x"

    def test_a_button_pressed_too_late_leads_back_to_its_page(self, client: Client, db: None) -> None:
        at = client.post("/pipeline/", headers={"Referer": "http://testserver/models/"})["Location"]

        assert at == "/accounts/login/?next=http%3A//testserver/models/"

    def test_a_part_of_an_open_page_sends_the_whole_page_to_sign_in(self, client: Client, db: None) -> None:
        headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/models/?sort=auc"}

        answer = client.get("/monitoring/drift/state/", headers=headers)

        assert answer["HX-Redirect"] == "/accounts/login/?next=/models/%3Fsort%3Dauc"
        assert answer.content == b""

    def test_a_stranger_sees_the_form_its_answer_and_nothing_else(self, client: Client, champion: ModelVersion) -> None:
        form, answer = client.get("/").text, client.post("/predict", OWEN).text

        for page in (form, answer):
            assert "Sign in" in page
            assert "/datasets/" not in page
            assert "/monitoring/" not in page
            assert "/admin/" not in page
        assert "Sign in to see why" in answer
        assert "What if, similar rows, other versions" not in answer

    def test_who_is_signed_in_sees_everything(self, client: Client, champion: ModelVersion) -> None:
        client.force_login(User.objects.get(username="admin"))

        assert "no open alerts" in client.get("/").text
        assert "What if, similar rows, other versions" in client.post("/predict", OWEN).text

    def test_without_a_database_the_form_answers_who_is_signed_in_too(
        self, client: Client, champion: ModelVersion
    ) -> None:
        client.force_login(User.objects.get(username="admin"))
        client.post("/predict", OWEN)

        with postgres_away():
            answer = client.post("/predict", OWEN)
            page = client.get("/datasets/")

        assert answer.status_code == 200
        assert page.status_code == 503


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("/accounts/password_change/", "Old password"),
        ("/admin/password_change/", "Old password"),
        ("/accounts/password_change/done/", "Your password is changed"),
        ("/accounts/password_reset/", "Send the link"),
        ("/accounts/password_reset/done/", "If a user has this email address"),
        ("/accounts/reset/x/y/", "Request a new link"),
        ("/accounts/reset/done/", "Your new password is set"),
    ],
)
def test_pages_of_passwords_are_the_sites_own(page: str, text: str, client: Client, admin: User) -> None:
    client.force_login(admin)

    answer = client.get(page)

    assert text in answer.text
    assert " · Titanic MLOps</title>" in answer.text
    assert " style=" not in answer.text
    assert '<a href="/accounts/password_change/"' in answer.text
