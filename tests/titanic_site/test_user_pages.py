"""The pages of users: invited by a link, given a role, disabled; an administrator is always left."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core import mail
from django.db import connections
from django.test import Client

from core.errors import Conflict
from core.models import AuditEntry
from tests.users import make_user
from titanic_site import accounts
from titanic_site.models import AccessToken

pytestmark = pytest.mark.usefixtures("login_required")

ANN = {"username": "ann", "email": "ann@example.org", "role": "analyst"}
PASSWORD = {"new_password1": "unsinkable-1912", "new_password2": "unsinkable-1912"}


@pytest.fixture
def client(db: None, settings: Any) -> Client:
    """An administrator's."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return _signed_in(make_user("captain", "administrator"))


@pytest.fixture
def mate(db: None) -> User:
    return make_user("mate")


def _signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def _link(text: str) -> str:
    found = re.search(r"http://testserver(/accounts/reset/[^<\s]+)", text)
    assert found is not None
    return found[1]


def test_a_person_is_invited_sets_a_password_by_the_link_and_signs_in(client: Client) -> None:
    shown = client.post("/users/", {**ANN, "is_staff": "on"})

    ann = User.objects.get(username="ann")
    assert (accounts.roles_of(ann), ann.is_staff, ann.has_usable_password()) == (["analyst"], True, False)
    assert "Invited" in client.get("/users/").text
    assert shown.headers["Cache-Control"].startswith("max-age=0")
    link = _link(shown.text)
    assert link not in client.get("/users/").text
    assert _link(mail.outbox[0].body) == link
    assert mail.outbox[0].to == ["ann@example.org"]
    guest = Client()
    form = guest.get(link, follow=True)
    assert "You sign in as ann" in form.text
    guest.post(form.redirect_chain[-1][0], PASSWORD)
    arrived = guest.post("/accounts/login/", {"username": "ann", "password": "unsinkable-1912"})
    assert arrived["Location"] == "/overview/"
    assert "This link has been used" in Client().get(link, follow=True).text
    trail = AuditEntry.objects.filter(object_name="ann").order_by("pk").values_list("action", flat=True)
    assert list(trail) == ["added", "changed", "password_link", "password_changed", "signed_in"]
    assert AuditEntry.objects.get(action="changed").after == {"role": "analyst", "is_staff": True}


@pytest.mark.parametrize(("backend", "says"), [
    ("django.core.mail.backends.console.EmailBackend", "It is not mailed"),
    ("django.core.mail.backends.smtp.EmailBackend", "It could not be mailed to ann@example.org"),
])  # fmt: skip
def test_without_mail_the_link_is_given_by_hand(client: Client, settings: Any, backend: str, says: str) -> None:
    settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = backend, "127.0.0.1", 1

    assert says in client.post("/users/", ANN).text


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"username": ""}, "username"),
        ({"username": "Captain"}, "username"),
        ({"username": "ﬁrst mate"}, "username"),
        ({"username": "\0"}, "username"),
        ({"username": "<script>"}, "username"),
        ({"username": "a" * 151}, "username"),
        ({"email": "a@b\nBcc: c@example.org"}, "email"),
        ({"email": "ann"}, "email"),
        ({"email": f"{'x' * 300}@example.org"}, "email"),
        ({"role": "superuser"}, "role"),
        ({"role": "\0"}, "role"),
    ],
)
def test_a_wrong_value_is_named_at_its_field(client: Client, values: dict[str, str], field: str) -> None:
    answer = client.post("/users/", {**ANN, **values})

    assert answer.status_code == 400
    assert list(answer.context["form"].errors) == [field]
    assert f'id="id_{field}_error"' in answer.text
    assert (User.objects.count(), mail.outbox) == (1, [])


def test_a_name_that_is_taken_meanwhile_is_a_conflict(client: Client, mate: User) -> None:
    with pytest.raises(Conflict, match="taken"):
        accounts.invite(username="mate", email="", role="viewer", is_staff=False)


def test_a_role_is_changed_once_it_is_confirmed(client: Client, mate: User) -> None:
    mate.groups.add(Group.objects.create(name="crew"))
    url = f"/users/{mate.pk}/role/"

    asked = client.get(url).text
    done = client.post(url, {"role": "viewer"}, follow=True)

    assert '<option value="operator" selected>' in asked
    assert "The role of mate is changed: Viewer." in done.text
    assert set(mate.groups.values_list("name", flat=True)) == {"crew", "viewer"}
    changed = AuditEntry.objects.get(action="changed", object_name="mate")
    assert (changed.actor, changed.before["role"], changed.after["role"]) == ("captain", "operator", "viewer")
    assert client.post(url, {"role": "king"}).status_code == 400


def test_disabling_ends_sessions_and_tokens_and_enabling_brings_none_back(client: Client, mate: User) -> None:
    theirs, token = _signed_in(mate), AccessToken.objects.create(mate)[1]
    calls = Client(headers={"Authorization": f"Token {token}"})
    assert (theirs.get("/runs/").status_code, calls.get("/api/v1/runs/").status_code) == (200, 200)

    asked = client.get(f"/users/{mate.pk}/disable/").text
    assert "signed out everywhere" in asked
    assert theirs.get("/runs/").status_code == 200
    for _time in range(2):
        client.post(f"/users/{mate.pk}/disable/")
    assert "Disabled" in client.get("/users/").text
    assert client.post(f"/users/{mate.pk}/link/").status_code == 409
    client.post(f"/users/{mate.pk}/enable/")

    mate.refresh_from_db()
    assert mate.is_active
    assert theirs.get("/runs/").status_code == 302
    assert not AccessToken.objects.exists()
    trail = AuditEntry.objects.exclude(action="signed_in").order_by("pk").values_list("action", "object_kind")
    assert list(trail)[-3:] == [("changed", "user"), ("deleted", "access token"), ("changed", "user")]
    assert client.get("/runs/").status_code == 200


def test_a_forgotten_password_is_replaced_by_a_link(client: Client, mate: User) -> None:
    asked = client.get(f"/users/{mate.pk}/link/")
    assert "/accounts/reset/" not in asked.text
    link = _link(client.post(f"/users/{mate.pk}/link/").text)

    assert "You sign in as mate" in Client().get(link, follow=True).text


def test_ones_own_account_and_superusers_are_others_to_change(client: Client, mate: User) -> None:
    captain, chief = User.objects.get(username="captain"), User.objects.create_superuser("chief")

    for page in ("role", "link", "disable", "enable"):
        for method in ("GET", "POST"):
            assert client.generic(method, f"/users/{captain.pk}/{page}/").status_code == 409
            assert client.generic(method, f"/users/{chief.pk}/{page}/").status_code == 403
            for key in (999_999, 10**30):
                assert client.generic(method, f"/users/{key}/{page}/").status_code == 404
    listed = client.get("/users/").text
    assert ("your own account" in listed, "by superusers alone" in listed) == (True, True)
    chiefs = _signed_in(chief)
    assert chiefs.post(f"/users/{captain.pk}/disable/").status_code == 302
    other = User.objects.create_superuser("other")
    assert chiefs.post(f"/users/{other.pk}/role/", {"role": "viewer"}).status_code == 409
    assert chiefs.post(f"/users/{other.pk}/disable/").status_code == 302
    with pytest.raises(Conflict, match="last administrator"):
        accounts.set_active(chief, is_active=False)


@pytest.mark.parametrize("act", [
    lambda user: accounts.give_role(user, role="viewer", is_staff=False),
    lambda user: accounts.set_active(user, is_active=False),
])  # fmt: skip
@pytest.mark.django_db(transaction=True)
def test_of_two_administrators_who_end_each_others_right_one_keeps_it(act: Any) -> None:
    both = [make_user(name, "administrator") for name in ("ann", "ben")]
    start = threading.Barrier(2)

    def attempt(user: User) -> bool:
        start.wait()
        try:
            act(user)
        except Conflict:
            return False
        finally:
            connections.close_all()
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(attempt, both)) == [False, True]


@pytest.mark.ignore_template_errors
def test_the_admin_too_leaves_an_administrator(db: None) -> None:
    captain, mate = User.objects.create_superuser("captain"), make_user("mate", "administrator", is_staff=True)
    client = _signed_in(captain)
    AccessToken.objects.create(mate)
    joined = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}

    def change(user: User, **values: object) -> int:
        sent = {"username": user.username, "is_staff": "on", **joined, **values}
        return client.post(f"/admin/auth/user/{user.pk}/change/", sent).status_code

    assert change(captain, is_superuser="on") == 409
    assert change(captain, is_active="on") == 409
    assert client.post(f"/admin/auth/user/{captain.pk}/delete/", {"post": "yes"}).status_code == 409
    captain.refresh_from_db()
    assert (captain.is_active, captain.is_superuser) == (True, True)
    assert change(mate, groups=[mate.groups.get().pk]) == 302
    assert not AccessToken.objects.exists()


def test_the_list_is_found_by_name_and_costs_few_queries(client: Client, django_assert_max_num_queries: Any) -> None:
    User.objects.bulk_create([User(username=f"guest{number}", email=f"{number}@example.org") for number in range(60)])
    AccessToken.objects.create(User.objects.get(username="guest59"))

    # Session, user and role of who asks; rows, their roles and tokens; two of the top bar, where no model serves.
    with django_assert_max_num_queries(8):
        page = client.get("/users/")

    assert page.context["rows"][0].token_count == 1
    assert len(page.context["rows"]) == 50
    assert "?before=" in page.text
    found = client.get("/users/", {"q": "9@EXAMPLE"}).context["rows"]
    assert {row.user.username for row in found} == {f"guest{number}" for number in (9, 19, 29, 39, 49, 59)}
    assert client.get("/users/", {"q": "\0"}).status_code == 400
    assert "No user matches" in client.get("/users/", {"q": "x" * 150}).text


@pytest.mark.parametrize("role", [None, "viewer", "analyst", "operator"])
def test_only_administrators_manage_users(db: None, role: str | None) -> None:
    theirs = _signed_in(make_user("guest", role))

    assert theirs.get("/users/").status_code == theirs.post("/users/", ANN).status_code == 403
    assert '<a href="/users/"' not in theirs.get("/").text
    assert not User.objects.filter(username="ann").exists()
