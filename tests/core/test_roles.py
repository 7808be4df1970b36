"""Who may do what: each address, read and changed, by each role, each scope and nobody."""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.permissions import AllowAny

from core.errors import Conflict
from core.roles import ROLES, Scope, permission_scope, required_scope, scopes_of
from predictions.models import ScoringJob
from tests.people import OWEN
from tests.users import make_user
from titanic_site.models import AccessToken
from training.models import ModelVersion

#: Read and change: a scope, "anybody", "signed in", or a dash where there is no such method.
Rule = tuple[str, str]
_SAMPLES = {"int": "7", "uuid": "01a19467-e800-7000-8000-000500000002", "str": "x", "slug": "x"}


def _patterns(patterns: list[Any], prefix: str = "/") -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            if pattern.namespace != "admin":
                yield from _patterns(pattern.url_patterns, prefix + str(pattern.pattern))
        elif isinstance(pattern, URLPattern) and not str(pattern.pattern).startswith("^"):
            yield prefix + str(pattern.pattern), pattern.callback


def actual() -> Mapping[str, Rule]:
    """The rule of each address, as the code has it."""
    return {path: (_rule(view, "GET"), _rule(view, "POST")) for path, view in _patterns(get_resolver().url_patterns)}


def _rule(view: Any, method: str) -> str:
    api = getattr(view, "cls", None)
    if api:
        if not hasattr(api, method.lower()):
            return "–"
        return "anybody" if AllowAny in api.permission_classes else str(required_scope(api, method))
    if not getattr(view, "login_required", True):
        return "anybody"
    if view.__module__.startswith("django.contrib."):
        return "signed in"
    return str(required_scope(view, method))


def _declared() -> Mapping[str, Rule]:
    text = (Path(settings.BASE_DIR) / "docs/security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(/\S*)` \| (.+?) \| (.+?) \|$", text, flags=re.MULTILINE)
    return {path: (read, change) for path, read, change in rows}


def test_every_address_stands_in_the_table() -> None:
    assert actual() == _declared()


def _addresses() -> list[tuple[str, str, str]]:
    """Method, address and rule of each, those of accounts left out, which are Django's."""
    return [
        (method, re.sub(r"<(?:(\w+):)?\w+>", lambda part: _SAMPLES[part[1] or "str"], path), rule)
        for path, rules in _declared().items()
        for method, rule in zip(("GET", "POST"), rules, strict=True)
        if not path.startswith("/accounts/") and rule != "signed in"
    ]


@pytest.mark.usefixtures("login_required")
@pytest.mark.ignore_template_errors
@pytest.mark.parametrize("role", ["nobody", "none", *ROLES])
def test_pages_open_to_the_roles_of_the_table(role: str, champion: ModelVersion) -> None:
    client = Client(raise_request_exception=False)
    if role != "nobody":
        client.force_login(make_user(role, None if role == "none" else role))
    scopes = ROLES.get(role, frozenset())
    wrong = []
    for method, address, rule in _addresses():
        if not address.startswith(("/api/", "/v2")):
            answer = client.generic(method, address)
            target = str(answer.get("Location", ""))
            is_open = answer.status_code != 403 and not target.startswith("/accounts/login/")
            # Whoever signs in arrives there; without a role one is led on to the form.
            is_open &= (address, target) != ("/overview/", "/")
            if is_open != (rule == "anybody" or rule in scopes) or answer.status_code in (500, 502):
                wrong.append((method, address, rule, answer.status_code))
    assert wrong == []


@pytest.mark.ignore_template_errors
@pytest.mark.parametrize("scope", ["nobody", "expired", "none", *Scope])
def test_calls_open_to_the_scopes_of_the_table(scope: str, champion: ModelVersion) -> None:
    owner = make_user("owner", "administrator")
    lifetime = timedelta(days=-1) if scope == "expired" else None
    granted = {f"can_{each}": scope in (each, "expired") for each in Scope}
    token = AccessToken.objects.create(owner, expiry=lifetime, **granted)[1]
    client = Client(
        raise_request_exception=False, headers=None if scope == "nobody" else {"Authorization": f"Token {token}"}
    )
    wrong = []
    for method, address, rule in _addresses():
        if address.startswith(("/api/", "/v2")) and rule != "–":
            answer = client.generic(method, address, b"{}", "application/json")
            is_open = answer.status_code not in (401, 403)
            # The pages of the schema refuse a token that cannot be used, though they need none.
            is_refused = scope == "expired" and address.endswith(("/schema/", "/docs/"))
            if is_open != (rule in (scope, "anybody") and not is_refused) or answer.status_code in (500, 502):
                wrong.append((method, address, rule, answer.status_code))
    assert wrong == []


def test_a_token_permits_no_more_than_its_owners_role(champion: ModelVersion) -> None:
    analyst = make_user("analyst", "analyst")
    token = AccessToken.objects.create(analyst, can_admin=True)[1]
    client = Client(headers={"Authorization": f"Token {token}"})

    assert client.post("/api/v1/predictions/", OWEN, content_type="application/json").status_code == 201
    assert client.post("/api/v1/models/rollback/").status_code == 403
    with pytest.raises(CommandError, match="role of analyst"):
        call_command("create_token", "analyst", scope=["operate"])


@pytest.mark.usefixtures("login_required")
def test_a_file_is_seen_by_its_owner_and_by_operators(db: None) -> None:
    owner, other, operator = make_user("owner", "analyst"), make_user("other", "analyst"), make_user("operator")
    job = ScoringJob.objects.create(name="secret.csv", created_by=owner, state="failed")
    page, calls = (
        f"/scoring/{job.pk}/",
        (f"/api/v1/scoring-jobs/{job.pk}/", f"/api/v1/scoring-jobs/{job.pk}/results.csv"),
    )

    for user, is_seen in ((owner, True), (other, False), (operator, True)):
        client = Client(headers={"Authorization": f"Token {AccessToken.objects.create(user)[1]}"})
        client.force_login(user)
        assert client.get(page).status_code == (200 if is_seen else 404)
        assert [client.get(call).status_code == 404 for call in calls] == [not is_seen] * 2
        for listing in ("/runs/", "/scoring/", "/api/v1/scoring-jobs/"):
            text = client.get(listing).content.decode()
            is_listed = any(part in text for part in ("secret.csv", f"/scoring/{job.pk}/", f"/scoringjob/{job.pk}/"))
            assert is_listed == is_seen, listing
        assert client.post(f"/runs/scoringjob/{job.pk}/again/").status_code == (302 if is_seen else 404)
        ScoringJob.objects.update(state="failed")


def test_a_file_that_is_scored_again_counts_among_the_open_ones(db: None) -> None:
    owner = make_user("owner", "analyst")
    jobs = [ScoringJob.objects.create(name="x.csv", created_by=owner, state="failed") for _ in range(6)]

    for job in jobs[:5]:
        job.rerun()
    with pytest.raises(Conflict, match="5 of your files"):
        jobs[5].rerun()


@pytest.mark.usefixtures("login_required")
def test_the_form_is_closed_by_setting(client: Client, settings: Any, champion: ModelVersion) -> None:
    assert client.get("/").status_code == 200
    settings.PUBLIC_FORM = False
    assert client.get("/")["Location"] == "/accounts/login/?next=/"
    assert client.post("/predict", OWEN).status_code == 302
    for role, status, is_offered in ((None, 403, False), ("viewer", 403, False), ("analyst", 200, True)):
        client.force_login(make_user(str(role), role))
        assert client.post("/predict", OWEN).status_code == status
        assert ('id="ask"' in client.get("/").text) == is_offered


def test_without_a_login_signing_in_takes_nothing_away(client: Client, db: None) -> None:
    client.force_login(make_user("sailor", None))

    assert client.get("/datasets/").status_code == 200
    assert scopes_of(make_user("other", None)) == frozenset()


def test_a_permission_that_was_given_by_itself_is_void(db: None) -> None:
    user = User.objects.create_user("sailor", is_active=False)
    assert scopes_of(user) == frozenset()
    assert permission_scope("sessions.view_session") == Scope.ADMIN
