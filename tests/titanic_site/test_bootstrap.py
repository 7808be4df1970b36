"""The first administrator: made once, told in a private file, and never touched again."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from rest_framework.test import APIClient

from titanic_site import bootstrap
from titanic_site.models import AccessToken


@pytest.fixture(autouse=True)
def home(tmp_path: Path, settings: Any) -> Path:
    """A home without credentials, and passwords that cost nothing."""
    settings.HOME = tmp_path
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return tmp_path


def _ensured() -> list[str]:
    said: list[str] = []
    bootstrap.ensure_admin(echo=said.append)
    return said


def _opens(path: Path) -> bool:
    """Whether password and token of the file are good."""
    credentials = json.loads(path.read_text())
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=f"Token {credentials['token']}")
    user = User.objects.get(username=credentials["username"])
    return user.check_password(credentials["password"]) and api.get("/api/v1/runs/").status_code == 200


def test_it_works(db: None, home: Path) -> None:
    said = _ensured()

    assert said == [f"Admin and API token made: {home / 'credentials.json'}"]
    assert _opens(home / "credentials.json")
    assert (home / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert User.objects.get().is_superuser


def test_a_second_start_does_nothing(db: None, home: Path) -> None:
    _ensured()
    before = (home / "credentials.json").read_bytes()

    assert _ensured() == []
    assert (home / "credentials.json").read_bytes() == before


@pytest.mark.parametrize("password", ["", "from-the-environment"])
def test_in_a_second_home_the_administrator_keeps_password_and_tokens(
    db: None, home: Path, settings: Any, password: str
) -> None:
    _ensured()
    settings.HOME = home / "second"
    settings.ADMIN_PASSWORD = password

    (said,) = _ensured()

    assert _opens(home / "credentials.json")
    assert AccessToken.objects.count() == 1
    assert not settings.HOME.exists()
    assert "manage.py changepassword admin" in said
    assert "manage.py create_token admin" in said


def test_an_administrator_of_another_name_is_enough(db: None, home: Path) -> None:
    User.objects.create_superuser("margaret")

    (said,) = _ensured()

    assert "changepassword margaret" in said
    assert User.objects.count() == 1


def test_a_user_who_merely_has_the_name_gets_no_rights(db: None) -> None:
    User.objects.create_user("admin")

    _ensured()

    assert not User.objects.get().is_superuser


def test_a_file_that_tells_of_another_database_is_kept(db: None, home: Path) -> None:
    (home / "credentials.json").write_text('{"of": "another"}')

    _ensured()

    assert _opens(home / "credentials.json")
    assert (home / "credentials.old.json").read_text() == '{"of": "another"}'


def test_killed_before_it_was_done_the_next_start_makes_both_anew(db: None, home: Path) -> None:
    def kill(_text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bootstrap.ensure_admin(echo=kill)
    assert not User.objects.exists()

    _ensured()

    assert _opens(home / "credentials.json")


def test_without_a_file_there_is_no_administrator_whom_nobody_knows(db: None, settings: Any, home: Path) -> None:
    settings.HOME = home / "not there"

    with pytest.raises(FileNotFoundError):
        _ensured()

    assert not User.objects.exists()


def test_of_two_at_once_one_makes_it(transactional_db: None, home: Path) -> None:
    def ensured(_turn: int) -> list[str]:
        try:
            return _ensured()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(ensured, range(4)))

    assert sorted(map(len, said)) == [0, 0, 0, 1]
    assert _opens(home / "credentials.json")
    assert User.objects.count() == AccessToken.objects.count() == 1
