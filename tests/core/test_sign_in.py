"""Sign-in by password: right, wrong, too often, and what the log says of it."""

import logging
import os
import sys
import threading
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, check_password, make_password
from django.contrib.auth.models import User
from django.test import Client
from limits.strategies import MovingWindowRateLimiter
from redis.exceptions import ConnectionError as Away

from core import sign_in

PAGES = ("/accounts/login/", "/admin/login/")
# The theme of the admin has its own ways with variables.
pytestmark = pytest.mark.ignore_template_errors


@pytest.fixture(autouse=True)
def captain(db: None, settings: Any) -> User:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.THROTTLE_SIGN_IN = "2/h"
    return User.objects.create_superuser("captain", password="iceberg")


def _post(password: str, *, name: str = "captain", address: str = "192.0.2.1", page: str = PAGES[0]) -> Any:
    return Client(REMOTE_ADDR=address).post(page, {"username": name, "password": password})


@pytest.mark.parametrize("page", PAGES)
def test_it_works(page: str, caplog: pytest.LogCaptureFixture, settings: Any) -> None:
    with caplog.at_level(logging.INFO):
        wrong, right = _post("ice", page=page), _post("iceberg", page=page)

    assert (wrong.status_code, right.status_code) == (200, 302)
    assert right.cookies["sessionid"]["max-age"] == 12 * 3600
    lines = [record.getMessage() for record in caplog.records if record.name == "core.sign_in"]
    assert lines == [
        "Sign-in as captain from 192.0.2.1 failed",
        "Sign-in as captain from 192.0.2.1: the password is right",
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


def test_a_process_hashes_for_one_at_a_time() -> None:
    with sign_in._hashing:
        busy = _post("iceberg")

    assert (busy.status_code, busy["Retry-After"]) == (429, "1")
    assert _post("iceberg").status_code == 302


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
