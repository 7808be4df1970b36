"""Whatever is asked at any address: an answer or a refusal, never a fault of ours."""

from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.middleware import SessionMiddleware
from django.db import OperationalError
from django.test import Client

from tests.addresses import sample_addresses
from titanic_site.models import AccessToken

# The theme of the admin has its own ways with variables.
pytestmark = pytest.mark.ignore_template_errors

_METHODS = ("OPTIONS", "HEAD", "TRACE", "PROPFIND", "PUT", "DELETE", "CONNECT")

#: Of the calendar's ends, of other digits, of no calendar, of no text.
NO_MOMENTS = (
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-01T24:00:00Z", "2026-02-30T00:00:00Z",
    "٢٠٢٦-١١-٠١T٠٠:٠٠:٠٠Z", "9" * 5000, "2026-11-01T00:00:00\0Z", b"\xed\xa0\x80", "now", "1e400",
)  # fmt: skip
#: The doors that take a moment, and what names it there.
API_MOMENTS = [("predictions", "since"), ("predictions", "until"), ("runs", "cursor"), ("models/history", "at")]
PAGE_MOMENTS = [("/runs/", "before"), ("/models/history/", "at")]


@pytest.fixture
def everybody(db: None) -> Client:
    """Signed in as administrator, and with a token."""
    user = User.objects.create_superuser("captain")
    client = Client(headers={"Authorization": f"Token {AccessToken.objects.create(user)[1]}"})
    client.force_login(user)
    return client


@pytest.mark.parametrize("method", _METHODS)
def test_no_method_is_a_fault_at_any_address(everybody: Client, method: str) -> None:
    addresses = sorted(set(sample_addresses()))
    assert {"/", "/api/v1/docs/", "/api/v1/predictions/", "/v2", "/admin/", "/metrics"} <= set(addresses)

    for address in addresses:
        # The admin's own pages take any method for a GET, and are opened elsewhere.
        asking = Client() if address.startswith("/admin/") else everybody
        status = asking.generic(method, address).status_code
        # Without a champion some have nothing to tell.
        assert status < 500 or status == 503, (address, status)


@pytest.mark.parametrize(("door", "name"), API_MOMENTS)
def test_what_is_no_moment_is_refused_by_name(everybody: Client, door: str, name: str) -> None:
    for text in NO_MOMENTS:
        response = everybody.get(f"/api/v1/{door}/?{name}={quote(text)}")

        assert (response.status_code, response.json()["errors"][0]["attr"]) == (400, name), text


@pytest.mark.parametrize(("door", "name"), API_MOMENTS)
def test_every_moment_of_the_calendar_is_taken(everybody: Client, door: str, name: str) -> None:
    for text in (
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59+14:00",
        "2026-11-01T00:00:00.5-03:30",
        "2026-11-01T00:00",
    ):
        assert everybody.get(f"/api/v1/{door}/?{name}={quote(text)}").status_code == 200, text


@pytest.mark.parametrize(("door", "name"), PAGE_MOMENTS)
def test_what_is_no_moment_is_passed_over_by_a_page(everybody: Client, door: str, name: str) -> None:
    for text in (*NO_MOMENTS, "0001-01-01T00:00:00", "9999-12-31T23:59:59"):
        assert everybody.get(f"{door}?{name}={quote(text)}").status_code == 200, text


@pytest.mark.parametrize(
    ("error", "status"),
    [(OperationalError("gone"), 503), (ValueError("a fault"), 500)],
)
@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/", "/api/v1/predictions/", "/v2/health/live"])
def test_what_fails_before_any_view_is_told_in_the_shape_of_the_address(
    path: str, error: Exception, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(SessionMiddleware, "process_request", fail)
    told = Client(raise_request_exception=False).get(path)

    assert told.status_code == status
    assert told.headers.get("Retry-After") == ("5" if status == 503 else None)
    if path.startswith("/api/"):
        assert told.json()["errors"][0]["detail"]
    elif path.startswith("/v2/"):
        assert told.json()["error"]
    else:
        assert "a fault" not in told.content.decode()
