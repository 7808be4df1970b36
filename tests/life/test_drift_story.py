"""A story of drift, for real: the started product, its workers, mail, a receiver of alerts, a person with a browser."""

import csv
import hmac
import io
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests import mail_server, servers
from tests.life.product import Running, started
from tests.programs import CHROMIUM

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

SECRET = "a secret of the receiver's"
SAMPLE = Path("ingestion/sample/sample.csv")
NUMBERS = {"pclass": int, "age": float, "sibsp": int, "parch": int, "fare": float}


@dataclass(frozen=True)
class World:
    """The product, and who is notified of its alerts."""

    product: Running
    hook: servers.Server
    inbox: mail_server.Inbox


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with mail_server.serving() as inbox, servers.serving() as hook:
        hook.answers = [servers.reply(204)]
        environment = {
            "ALERT_WEBHOOK_URL": f"{hook.address}/hook",
            "ALERT_WEBHOOK_SECRET": SECRET,
            "ALERT_EMAILS": "ann@example.org",
            "EMAIL_URL": f"smtp://127.0.0.1:{inbox.port}",
        }
        with started(environment) as product:
            yield World(product, hook, inbox)


@pytest.fixture
def page(world: World) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page(base_url=world.product.url)
        browser.close()


def people() -> list[dict[str, str]]:
    """The sample's passengers, as text."""
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        return [{name.lower(): text for name, text in row.items()} for row in csv.DictReader(file)]


def instance(person: dict[str, str], *, dearer: float) -> dict[str, Any]:
    """A passenger as the API takes one, who paid so many times the fare."""
    fields = {
        name: NUMBERS.get(name, str)(text)
        for name, text in person.items()
        if text and name not in ("passengerid", "survived")
    }
    return fields | ({"fare": fields["fare"] * dearer} if "fare" in fields else {})


def predict(product: Running, count: int, *, dearer: float = 1.0, seed: int = 0) -> list[tuple[str, bool]]:
    """Predict for people drawn from the sample, forty at a time; returns ids and what became of them."""
    random, everybody, told = Random(seed), people(), []
    for _ in range(count // 40):
        drawn = random.choices(everybody, k=40)
        body = {"instances": [instance(person, dearer=dearer) for person in drawn]}
        answers = product.api.post("/api/v1/predictions/batch/", json=body).raise_for_status().json()["predictions"]
        told += [(answer["id"], person["survived"] == "1") for answer, person in zip(answers, drawn, strict=True)]
        # The watch looks once a second.
        time.sleep(0.5)
    return told


def state(product: Running) -> str:
    """What an answer says of drift now."""
    body = {"instances": [instance(people()[0], dearer=1.0)]}
    answer = product.api.post("/api/v1/predictions/batch/", json=body).raise_for_status().json()
    return str(answer["drift"]["state"])


def wait_for_state(product: Running, wanted: str, *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while (now := state(product)) != wanted:
        assert time.monotonic() < end, now
        time.sleep(1)


def drift_alerts(product: Running, state: str) -> list[dict[str, Any]]:
    found = product.api.get("/api/v1/alerts/", params={"kind": "drift", "state": state}).raise_for_status().json()
    return list(found["results"])


def second_voyage() -> bytes:
    """The sample with dearer fares, other tickets and the opposite label: what was learned before no longer holds."""
    out = io.StringIO()
    rows = people()
    writer = csv.DictWriter(out, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        fare = f"{float(row['fare']) * 1.5:.4f}" if row["fare"] else ""
        ticket = f"{row['ticket']} II" if row["ticket"] else ""
        writer.writerow({**row, "fare": fare, "ticket": ticket, "survived": 1 - int(row["survived"])})
    return out.getvalue().encode()


def test_drift_is_seen_told_and_mended(world: World, page: Page) -> None:  # noqa: PLR0915  one story
    product = world.product
    started_with = product.api.get("/api/v1/models/").json()["results"][0]["version"]

    # Calm traffic: a state as soon as the watch is calibrated, and no alarm over 2,000 predictions.
    predict(product, 40)
    wait_for_state(product, "calm", seconds=120)
    predict(product, 2_000, seed=1)
    assert state(product) == "calm"
    assert drift_alerts(product, "open") == []

    # Fares x 1.5: an alarm, and an alert by webhook and mail.
    predict(product, 320, dearer=1.5, seed=2)
    wait_for_state(product, "drift")
    (alert,) = product.wait("/api/v1/alerts/?kind=drift&state=open", lambda found: found["results"])["results"]
    end = time.monotonic() + 60
    while not (
        any(b'"drift"' in body for body in world.hook.bodies)
        and any("Live inputs" in str(mail["Subject"]) for mail in world.inbox.mails)
    ):
        assert time.monotonic() < end, (world.hook.bodies, world.inbox.mails)
        time.sleep(0.5)
    index = next(place for place, body in enumerate(world.hook.bodies) if b'"drift"' in body)
    headers, body = world.hook.asked[index][2], world.hook.bodies[index]
    signed = f"{headers['X-Titanic-Timestamp']}.".encode() + body
    assert headers["X-Titanic-Signature"] == f"sha256={hmac.new(SECRET.encode(), signed, sha256).hexdigest()}"
    assert json.loads(body)["event"] == "raised"

    # A person sees it on the pages, and looks after it.
    page.goto("/monitoring/drift/")
    expect(page.get_by_text("Fare").first).to_be_visible()
    page.goto(f"/monitoring/alerts/{alert['id']}/")
    page.get_by_label("Note").first.fill("The agency raised its fares.")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_text("The agency raised its fares.").first).to_be_visible()
    assert [one["id"] for one in drift_alerts(product, "acknowledged")] == [alert["id"]]

    # An ordinary file in between does not hide it.
    file = ("people.csv", SAMPLE.read_bytes(), "text/csv")
    job = product.api.post("/api/v1/scoring-jobs/", files={"file": file}).raise_for_status().json()
    assert product.finish(f"/api/v1/scoring-jobs/{job['id']}/")["state"] == "succeeded"
    predict(product, 40, dearer=1.5, seed=3)
    time.sleep(2)
    assert state(product) == "drift"

    # New labelled data; the rule retrains, the gate judges, the new model serves.
    upload = ("second.csv", second_voyage(), "text/csv")
    dataset = product.api.post("/api/v1/datasets/", files={"file": upload}).raise_for_status().json()
    assert product.finish(f"/api/v1/datasets/{dataset['id']}/")["state"] == "succeeded"
    page.goto("/monitoring/alerts/rules/")
    page.get_by_role("main").get_by_role("link", name=re.compile("drift", re.IGNORECASE)).first.click()
    page.get_by_label(re.compile("retrain", re.IGNORECASE)).first.check()
    page.get_by_role("button", name="Save").click()
    promoted = product.wait(
        "/api/v1/models/",
        lambda models: models["results"][0]["version"] > started_with and models["results"][0]["stage"] == "champion",
        seconds=300,
    )["results"][0]
    page.goto(f"/monitoring/alerts/{alert['id']}/")
    expect(page.get_by_role("heading", name="Retrainings")).to_be_visible()

    # Calm again, with the traffic that was an alarm before.
    told = predict(product, 40, dearer=1.5, seed=4)
    wait_for_state(product, "calm", seconds=120)
    told += predict(product, 640, dearer=1.5, seed=5)
    assert state(product) == "calm"
    product.wait("/api/v1/alerts/?kind=drift&state=open", lambda found: not found["results"])

    # What became of them moves the performance chart.
    outcomes = [{"prediction_id": id_, "survived": not survived} for id_, survived in told]
    recorded = product.api.post("/api/v1/outcomes/", json=outcomes)
    assert recorded.status_code < 300, recorded.text
    check = product.api.post("/api/v1/performance-checks/").raise_for_status().json()
    done = product.finish(f"/api/v1/performance-checks/{check['id']}/")
    assert done["state"] == "succeeded", done
    assert done["model_version"] == promoted["version"]
    page.goto("/monitoring/performance/")
    expect(page.get_by_text("Accuracy").first).to_be_visible()
    page.goto(f"/monitoring/performance/{check['id']}/")
    expect(page.get_by_text(str(len(told))).first).to_be_visible()
