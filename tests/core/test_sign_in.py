"""Sign-in by password: right, wrong, too often, and what the log says of it."""

import logging
import os
import sys
import threading
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, check_password, make_password
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client
from limits.strategies import MovingWindowRateLimiter
from redis.exceptions import ConnectionError as Away

from core import sign_in
from core.models import AuditEntry

PAGES = ("/accounts/login/", "/admin/login/")
CHANGE_PAGES = ("/accounts/password_change/", "/admin/password_change/")
RESET = "/accounts/password_reset/"
# The theme of the admin has its own ways with variables.
pytestmark = pytest.mark.ignore_template_errors


@pytest.fixture(autouse=True)
def captain(db: None, settings: Any) -> User:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.THROTTLE_SIGN_IN = "2/h"
    return User.objects.create_superuser("captain", password="iceberg")


def _post(password: str, *, name: str = "captain", address: str = "192.0.2.1", page: str = PAGES[0]) -> Any:
    return Client(REMOTE_ADDR=address).post(page, {"username": name, "password": password})


def _change(old: str, user: User, *, page: str = CHANGE_PAGES[0], address: str = "192.0.2.1") -> Any:
    client = Client(REMOTE_ADDR=address)
    client.force_login(user)
    new = {"new_password1": "unsinkable-1912", "new_password2": "unsinkable-1912"}
    return client.post(page, {"old_password": old, **new})


@pytest.mark.parametrize("page", PAGES)
def test_it_works(page: str, caplog: pytest.LogCaptureFixture, settings: Any) -> None:
    with caplog.at_level(logging.INFO):
        wrong, right = _post("ice", page=page), _post("iceberg", page=page)

    assert (wrong.status_code, right.status_code) == (200, 302)
    assert right.cookies["sessionid"]["max-age"] == 12 * 3600
    lines = [record.getMessage() for record in caplog.records if record.name == "core.sign_in"]
    assert lines == [
        "Password for captain from 192.0.2.1: wrong",
        "Password for captain from 192.0.2.1: right",
    ]
    assert not [record for record in caplog.records if "ice" in record.getMessage()]


def test_who_guesses_is_slowed_on_all_pages_also_with_the_right_password() -> None:
    assert [_post(guess, page=page).status_code for guess, page in zip("ab", PAGES, strict=True)] == [200, 200]

    for page in PAGES:
        for name in ("captain", "nobody"):
            refused = _post("iceberg", name=name, page=page)
            assert refused.status_code == 429
            assert 0 < int(refused["Retry-After"]) <= 3600
            assert "Too many requests" in refused.text
    assert _post("iceberg", address="192.0.2.2").status_code == 302


def test_a_header_makes_no_other_address() -> None:
    def guess(number: int) -> int:
        client = Client(REMOTE_ADDR="192.0.2.1", headers={"X-Forwarded-For": f"198.51.100.{number}"})
        return client.post(PAGES[0], {"username": "captain", "password": str(number)}).status_code

    assert [guess(number) for number in range(3)] == [200, 200, 429]


def test_a_user_is_guessed_by_all_addresses_together_ten_times_as_often() -> None:
    for number in range(20):
        assert _post("a", address=f"192.0.2.{number}").status_code == 200

    assert _post("a", address="192.0.2.99").status_code == 429
    assert _post("a", name="mate", address="192.0.2.99").status_code == 200


def test_who_signs_in_is_not_counted() -> None:
    assert [_post("iceberg").status_code for _ in range(5)] == [302] * 5


@pytest.mark.parametrize(
    "name", ["", "\0", "a\nERROR forged\x1b[31m\u202e", "x" * 2_000_000, "🚢" * 151, "' OR 1=1 --"]
)
def test_an_odd_name_is_wrong_and_fills_no_log(name: str, caplog: pytest.LogCaptureFixture) -> None:
    assert _post("iceberg", name=name).status_code == 200

    assert all(len(record.getMessage()) < 250 for record in caplog.records)


def test_an_odd_password_is_wrong() -> None:
    for number, password in enumerate(("", "\0", "x" * 2_000_000, "iceberg ")):
        assert _post(password, address=f"192.0.2.{number}").status_code == 200


def test_without_redis_one_signs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Any:
        raise Away

    for name in ("hit", "test"):
        monkeypatch.setattr(MovingWindowRateLimiter, name, away)

    assert [_post(password).status_code for password in ("a", "b", "c", "iceberg")] == [200, 200, 200, 302]


def test_without_a_limit_all_pass(settings: Any) -> None:
    settings.THROTTLE_SIGN_IN = None

    assert [_post("a").status_code for _ in range(5)] == [200] * 5


@pytest.mark.parametrize("change", [None, *CHANGE_PAGES])
def test_a_process_hashes_for_one_at_a_time(
    change: str | None, captain: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PASSWORD_HASHERS = ["core.sign_in.BackgroundHasher"]
    monkeypatch.setattr(sign_in.BackgroundHasher, "iterations", 1)
    captain.set_password("iceberg")
    captain.save()

    def post() -> Any:
        return _change("iceberg", captain, page=change) if change else _post("iceberg")

    with sign_in._hashing:
        busy = post()

    assert (busy.status_code, busy["Retry-After"]) == (429, "1")
    assert post().status_code == 302


def test_hashes_are_djangos_own(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["core.sign_in.BackgroundHasher"]
    hashed = make_password("iceberg")
    djangos = PBKDF2PasswordHasher().encode("iceberg", "salt", 1000)

    assert hashed.startswith(f"pbkdf2_sha256${PBKDF2PasswordHasher.iterations}$")
    assert check_password("iceberg", hashed)
    assert check_password("iceberg", djangos)
    assert not check_password("ice", djangos)
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    assert check_password("iceberg", hashed)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority of their own on Linux alone")
def test_hashing_gives_way_to_what_else_the_process_does() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert sign_in._background.submit(niceness).result() == 5
    assert niceness() == 0


class TestChange:
    def test_it_works(self, captain: User, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO):
            wrong, right = _change("ice", captain), _change("iceberg", captain)

        assert "Your old password was entered incorrectly" in wrong.text
        assert right["Location"] == "/accounts/password_change/done/"
        assert _post("unsinkable-1912").status_code == 302
        lines = [record.getMessage() for record in caplog.records if record.name == "core.sign_in"]
        assert lines[:2] == ["Password for captain from 192.0.2.1: wrong", "Password for captain from 192.0.2.1: right"]
        assert AuditEntry.objects.get(action="sign_in_failed").actor == "captain"

    def test_who_guesses_the_old_password_is_slowed_on_all_pages(self, captain: User) -> None:
        guesses = [_change(guess, captain, page=page) for guess, page in zip("ab", CHANGE_PAGES, strict=True)]

        assert [guess.status_code for guess in guesses] == [200, 200]
        assert [_change("iceberg", captain, page=page).status_code for page in CHANGE_PAGES] == [429, 429]
        assert _post("iceberg").status_code == 429
        assert _change("iceberg", captain, address="192.0.2.2").status_code == 302

    @pytest.mark.parametrize("old", ["", "\0", "x" * 2_000_000])
    def test_an_odd_password_is_wrong(self, old: str, captain: User) -> None:
        assert _change(old, captain).status_code == 200

    def test_it_needs_no_role(self, db: None) -> None:
        nobody = User.objects.create_user("nobody", password="iceberg")

        assert _change("iceberg", nobody).status_code == 302


class TestReset:
    def test_it_works(self, captain: User, client: Client) -> None:
        User.objects.filter(pk=captain.pk).update(email="captain@example.org")

        answers = [client.post(RESET, {"email": f"{name}@example.org"}) for name in ("captain", "nobody")]

        assert [(answer.status_code, answer["Location"]) for answer in answers] == [(302, f"{RESET}done/")] * 2
        (message,) = mail.outbox
        link = next(line for line in message.body.splitlines() if "/accounts/reset/" in line)
        form = client.get(link.removeprefix("http://testserver"))["Location"]
        new = {"new_password1": "unsinkable-1912", "new_password2": "unsinkable-1912"}
        assert client.post(form, new)["Location"] == "/accounts/reset/done/"
        assert _post("unsinkable-1912").status_code == 302

    def test_an_address_is_limited(self, client: Client) -> None:
        requests = [client.post(RESET, {"email": f"{number}@example.org"}) for number in range(3)]

        assert [request.status_code for request in requests] == [302, 302, 429]
        assert 0 < int(requests[2]["Retry-After"]) <= 3600
        assert client.get(RESET).status_code == 200
        assert Client(REMOTE_ADDR="192.0.2.2").post(RESET, {"email": "a@example.org"}).status_code == 302

    @pytest.mark.parametrize("email", ["", "\0@example.org", "a@b\nBcc: c@example.org", "x" * 300 + "@example.org"])
    def test_an_odd_address_is_sent_nothing(self, email: str, client: Client) -> None:
        assert client.post(RESET, {"email": email}).status_code == 200
        assert not mail.outbox

    @pytest.mark.parametrize(
        "link", ["x/y", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OQ/set-password", "AA/%00", "MQ/set-password"]
    )
    def test_a_forged_link_is_refused(self, link: str, client: Client) -> None:
        assert "This link has been used" in client.get(f"/accounts/reset/{link}/").text

    def test_without_a_mail_server_it_says_who_can_help(self, client: Client, settings: Any) -> None:
        settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"

        page = client.get(RESET).text

        assert "until its administrator sets EMAIL_URL" in page
        assert 'name="email"' not in page
