"""The frame around every page: how things stand, where one is, and how a visitor wants it shown."""

import gzip
import re
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.templatetags.static import static
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from core import moments
from monitoring.alert_kinds import Kind
from monitoring.models import Alert
from training.models import ModelVersion


def test_the_top_bar_tells_the_champion_with_its_quality_and_how_many_alerts_are_open(
    client: Client, champion: ModelVersion
) -> None:
    calm = client.get("/runs/").text
    Alert.objects.create(kind=Kind.DRIFT, subject="y", message="z")
    Alert.objects.create(kind=Kind.DRIFT, subject="w", message="over", resolved_at=timezone.now())

    alerted = client.get("/runs/").text

    auc = champion.evaluation.cross_validation.roc_auc.value
    assert f"Model {champion.version} · AUC {auc:.3f}" in calm
    assert 'aria-label="0 open alerts"' in calm
    assert 'aria-label="1 open alert"' in alerted


@pytest.mark.django_db
def test_an_empty_system_says_that_no_model_is_serving(client: Client) -> None:
    assert "No model is serving" in client.get("/runs/").text


def test_a_page_links_to_those_it_lies_under(client: Client, champion: ModelVersion) -> None:
    page = client.get(f"/models/{champion.version}/card/").text
    listed = re.findall(r'<li><a href="([^"]+)">([^<]+)</a></li>', page.partition("<ol>")[2].partition("</ol>")[0])

    assert listed == [("/overview/", "Overview"), ("/models/", "Models"), ("/models/1/", "Model 1")]


@pytest.mark.django_db
def test_a_theme_is_kept_and_drawn_by_the_server(client: Client) -> None:
    chosen = client.post("/display/", {"theme": "dark", "next": "/runs/?kind=x"})
    page = client.get(chosen["Location"]).text

    assert chosen["Location"] == "/runs/?kind=x"
    assert 'data-theme="dark"' in page
    client.post("/display/", {"theme": ""})
    assert "data-theme" not in client.get("/").text


def test_moments_are_shown_and_read_in_the_chosen_time_zone(client: Client, champion: ModelVersion) -> None:
    ModelVersion.objects.update(created_at=datetime(2026, 7, 1, 22, 30, tzinfo=UTC))
    champion.run.__class__.objects.update(created_at=datetime(2026, 7, 1, 22, 30, tzinfo=UTC))
    client.post("/display/", {"time_zone": "Asia/Kolkata"})

    page = client.get("/runs/").text

    assert "Created (Asia/Kolkata)" in page
    assert "2 Jul 2026, 04:00" in page
    assert "22:30 UTC" in client.get("/models/1/card.md").text
    with timezone.override("Asia/Kolkata"):
        assert moments.parse("2026-07-02T04:00") == datetime(2026, 7, 1, 22, 30, tzinfo=UTC)


def test_the_api_speaks_utc_in_any_browser(api: APIClient, champion: ModelVersion) -> None:
    api.cookies["time_zone"] = "Asia/Kolkata"

    assert api.get("/api/v1/models/1/").json()["created_at"].endswith("Z")


@pytest.mark.parametrize("name", ["theme", "time_zone", "language"])
@pytest.mark.parametrize("value", ["../../etc/passwd", "x\x00", "x" * 10_000, '"><script>'])
@pytest.mark.django_db
def test_what_is_no_choice_changes_nothing(client: Client, name: str, value: str) -> None:
    refused = client.post("/display/", {name: value, "next": "//evil.example/"})
    client.cookies[name] = re.sub(r"[\x00-\x1f]", "", value)

    page = client.get("/")

    assert refused.status_code == 400
    assert name not in refused.cookies
    assert page.status_code == 200
    assert "data-theme" not in page.text
    assert client.post("/display/", {"theme": "dark", "next": "//evil.example/"})["Location"] == "/"


@pytest.mark.parametrize(
    ("url", "most"),
    [("/", 60), ("/overview/", 150), ("/models/1/", 150), ("/monitoring/", 150), ("/runs/", 150), ("/display/", 150),
     ("/api/v1/docs/", 700), ("/admin/", 225), ("/admin/ingestion/dataset/", 270)],
)  # fmt: skip
@pytest.mark.ignore_template_errors
def test_a_first_visit_is_light_and_asks_no_other_host(
    client: Client, champion: ModelVersion, url: str, most: int
) -> None:
    if url.startswith("/admin/"):
        client.force_login(User.objects.get(username="admin"))

    def fetched(address: str) -> bytes:
        answer = client.get(address, headers={"Accept-Encoding": "gzip"})
        is_font = address.endswith(".woff2")
        assert (answer.status_code, answer.get("Content-Encoding")) == (200, None if is_font else "gzip"), address
        return b"".join(answer)

    page = fetched(url)
    files = re.findall(r'<(?:script|link|img)[^>]* (?:src|href)="([^"]+)"', gzip.decompress(page).decode())
    if "docs" in url:
        files.append("/api/v1/schema/")
    if "admin" in url:
        # Of the theme's fonts none is used: see `test_admin.py`.
        files.append(static("theme/icons.woff2"))
    # What a page names twice is fetched once; a picture that is part of the page is not fetched.
    addresses = {file.partition("?")[0] for file in files if not file.startswith("data:")}
    weight = len(page) + sum(len(fetched(address)) for address in addresses if not address.endswith(".png"))

    assert [address for address in addresses if not address.startswith("/")] == []
    assert weight <= most * 1000
