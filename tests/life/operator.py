"""An operator's jobs in a browser, each a step of one walk: by mouse, by keyboard alone, and without JavaScript."""

import csv
import io
import json
import re
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import httpx
from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.life.product import Running, until
from tests.people import OWEN

#: The line of the table below that the contract rejects.
WRONG_LINE = 1311
#: How often Tab may be pressed until something is reached.
MOST_TABS = 150
#: A training may wait for another one.
TRAINING_MS = 200_000
# Other tests keep the processors busy.
expect.set_options(timeout=30_000)


@dataclass(frozen=True)
class Desk:
    """A browser in which an operator works, in one language, at one width."""

    page: Page
    product: Running
    language: str
    #: A folder for pictures, or nothing.
    pictures: str

    def say(self, text: str) -> str:
        """Return what pages say for an English text."""
        with translation.override(self.language):
            return gettext(text)

    def go(self, section: str) -> None:
        """Open a section from the navigation, which a narrow screen has in its menu."""
        menu = self.page.locator(".menu summary")
        if menu.is_visible():
            menu.click()
        self.page.locator("nav .links").get_by_role("link", name=self.say(section), exact=True).click()

    def press(self, label: str, within: str = "main") -> None:
        """Press a button or a link of the page, which is in sight without scrolling sideways."""
        place, name = self.page.locator(within), self.say(label)
        control = place.get_by_role("button", name=name, exact=True).or_(
            place.get_by_role("link", name=name, exact=True)
        )
        control.first.scroll_into_view_if_needed()
        box, size = control.first.bounding_box(), self.page.viewport_size
        assert box is not None
        assert size is not None
        assert 0 <= box["x"] < box["x"] + box["width"] <= size["width"], label
        control.first.click()

    def picture(self, name: str, shown: Locator | None = None) -> None:
        """Keep what is in sight for docs/tour.md, where pictures are wanted."""
        if not self.pictures:
            return
        if shown:
            shown.evaluate("element => element.scrollIntoView({block: 'start'})")
        # Charts and the gauge move a little before they stand still.
        self.page.wait_for_timeout(1_000)
        path = Path(self.pictures) / f"{name}.png"
        self.page.screenshot(path=path)
        Image.open(path).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def walk(desk: Desk) -> None:
    """Do each job once; the champion, the schedule and the current features are as before in the end."""
    api = desk.product.api
    champion = _champion(desk)
    failed = api.post("/api/v1/datasets/", files={"file": ("wrong.csv", b"no,column\n1,2\n")}).json()["id"]
    api.post("/api/v1/predictions/batch/", json={"instances": [OWEN] * 60}).raise_for_status()

    sign_in(desk)
    predict(desk)
    follow_a_prediction_to_the_line_of_its_source(desk)
    number = load_a_table_and_retrain(desk)
    see_why_it_was_not_promoted(desk, number)
    compare(desk, number, champion)
    promote_with_a_reason(desk, number)
    roll_back(desk, number, champion)
    retry(desk, failed)
    change_and_run_a_schedule(desk)
    look_at_drift(desk)
    acknowledge_an_alert(desk)
    make_and_revoke_a_token(desk)

    batch = api.post("/api/v1/feature-batches/", json={"dataset": 1}).raise_for_status()
    assert desk.product.finish(batch.headers["Location"])["state"] == "succeeded"


def sign_in(desk: Desk) -> None:
    """Sign in and arrive at the overview."""
    credentials = json.loads((desk.product.home / "credentials.json").read_text())
    desk.page.goto("/accounts/login/")
    desk.page.fill("[name=username]", credentials["username"])
    desk.page.fill("[name=password]", credentials["password"])
    desk.page.press("[name=password]", "Enter")
    expect(desk.page.locator("#life")).to_be_visible()
    desk.picture("overview")


def predict(desk: Desk) -> None:
    """Start from an example and see the answer."""
    desk.go("Predict")
    desk.page.locator(".examples a").first.click()
    expect(desk.page.locator("#id_age")).not_to_have_value("")
    desk.press("Predict")
    expect(desk.page.locator("#answer .gauge__share")).to_be_visible()
    desk.picture("predict")


def follow_a_prediction_to_the_line_of_its_source(desk: Desk) -> None:
    """Open the prediction, a similar training row with its line, and the file with its checksum."""
    page = desk.page
    page.click("#answer-prediction")
    line = page.locator("#similar tbody small").first
    expect(line).to_have_text(re.compile(r"\.csv, \S+ \d+"))
    desk.picture("prediction", page.locator("#similar"))
    desk.page.locator("#similar p a").click()
    expect(page.locator("dl.facts").first).to_contain_text("sample.csv")
    expect(page.locator("dl.facts code").first).to_have_text(re.compile("^[0-9a-f]{64}$"))


def load_a_table_and_retrain(desk: Desk) -> int:
    """Upload a table with garbled outcomes and a wrong row, build features, train; returns the version."""
    page = desk.page
    desk.go("Datasets")
    page.set_input_files("[type=file]", {"name": "new.csv", "mimeType": "text/csv", "buffer": garbled()})
    desk.press("Upload")
    expect(page.locator("#build")).to_be_visible(timeout=60_000)
    desk.picture("dataset", page.locator("#problems"))
    dataset = page.url
    desk.press(str(WRONG_LINE))
    expect(page.locator("h1")).to_contain_text(str(WRONG_LINE))

    page.goto(dataset)
    desk.press("Build features")
    expect(page.locator("#train")).to_be_visible(timeout=60_000)
    desk.picture("features")
    desk.go("Models")
    desk.press("Train a new version")
    page.select_option("[name=algorithm]", "logistic_regression")
    page.fill("[name=candidates]", "0")
    desk.press("Train", "main form")
    verdict = page.locator("#verdict")
    expect(verdict).to_contain_text(desk.say("Not promoted: the gate found reasons against it"), timeout=TRAINING_MS)
    desk.picture("training")

    # Its stages, and its log.
    expect(page.locator("#stages tbody tr").first).to_be_visible()
    expect(page.locator(".log strong").first).to_be_visible()
    desk.press("Warnings and errors")
    desk.press("All lines")
    desk.picture("log", page.locator("#log"))
    return int(verdict.get_by_role("link").first.inner_text().split()[-1])


def see_why_it_was_not_promoted(desk: Desk, number: int) -> None:
    """Two clicks from the overview the reason stands above the fold."""
    page = desk.page
    page.goto("/overview/")
    page.locator("#life a[href='/models/']").click()
    page.locator(f".cards a[href='/models/{number}/']").click()
    headline = page.locator(".headline--bad")
    expect(headline).to_have_text(re.compile(desk.say("Not promoted: %(problem)s") % {"problem": ".+"}))
    box, size = headline.bounding_box(), page.viewport_size
    assert box is not None
    assert size is not None
    assert box["y"] + box["height"] <= size["height"]
    assert page.evaluate("scrollY") == 0
    desk.picture("not-promoted")


def compare(desk: Desk, number: int, champion: int) -> None:
    """Choose two versions and see them side by side."""
    desk.go("Models")
    for version in (number, champion):
        desk.page.check(f"[name=compare][value='{version}']")
    desk.press("Compare the chosen")
    expect(desk.page.get_by_role("region", name=desk.say("Side by side"))).to_be_visible()
    desk.picture("compare")


def promote_with_a_reason(desk: Desk, number: int) -> None:
    """Promote what the gate refused: a reason is wanted."""
    page = desk.page
    page.goto(f"/models/{number}/")
    desk.press("Promote")
    expect(page.locator("#confirm .message--error li").first).to_be_visible()
    page.locator("#confirm [name=reason]").fill("The operator's walk")
    desk.picture("promote")
    page.locator("#confirm button").click()
    expect(page.locator(".headline--good")).to_be_visible()
    assert _champion(desk) == number


def roll_back(desk: Desk, number: int, champion: int) -> None:
    """Roll back to the version before, which the question names."""
    desk.go("Models")
    desk.press("Roll back")
    expect(desk.page.locator("h1")).to_contain_text(str(champion))
    desk.page.locator("#confirm button").click()
    expect(desk.page.locator(".headline--good")).to_be_visible()
    assert _champion(desk) == champion != number


def retry(desk: Desk, failed: int) -> None:
    """Start a failed run again; the new one leads to the old."""
    desk.go("Runs")
    row = f".cards tr:has(a[href='/runs/dataset/{failed}/'])"
    expect(desk.page.locator(f"{row} [data-state=failed]")).to_be_visible()
    desk.picture("runs")
    desk.press("Start again", row)
    expect(desk.page.locator(f".job a[href='/runs/dataset/{failed}/']")).to_be_visible()


def change_and_run_a_schedule(desk: Desk) -> None:
    """See the next runs of the drift check, change how often it runs, run it now, and change it back."""
    page = desk.page
    desk.go("Schedules")
    desk.press("Check drift")
    expect(page.locator("#next-runs li")).to_have_count(5)
    before = page.locator("#when").inner_text()
    page.fill("[name=every]", "7")
    desk.press("Save")
    expect(page.locator("#when")).to_contain_text("7")
    desk.picture("schedule")
    desk.press("Run now")
    desk.press("Switch off")
    expect(page.locator("#next-runs")).to_have_count(0)
    desk.press("Switch on")
    page.fill("[name=every]", "1")
    desk.press("Save")
    expect(page.locator("#when")).to_have_text(before)


def look_at_drift(desk: Desk) -> None:
    """See drift over time by feature, and the distributions of one check."""
    page = desk.page
    newest = desk.product.wait("/api/v1/drift-checks/", lambda found: found["results"])["results"][0]
    check = desk.product.finish(f"/api/v1/drift-checks/{newest['id']}/")
    assert (check["state"], check["drifted"], check["backend"]) == ("succeeded", True, "alibi"), check
    assert "drift_count_total{feature=" in desk.product.api.get("/metrics").text
    desk.go("Drift")
    heat = page.locator(".heat-time a").first
    expect(heat).to_be_visible()
    desk.picture("drift")
    heat.click()
    expect(page.locator(".overlay__window").first).to_be_attached()
    desk.picture("drift-check")


def acknowledge_an_alert(desk: Desk) -> None:
    """Take an open alert over, with a note."""
    page = desk.page
    alert = desk.product.wait("/api/v1/alerts/?state=open", lambda found: found["results"])["results"][0]["id"]
    page.click("#bell")
    page.locator(f".cards a[href='/monitoring/alerts/{alert}/']").click()
    page.locator("[name=note]").fill("Looked at")
    desk.picture("alert")
    desk.press("Acknowledge")
    expect(page.locator("dl.facts")).to_contain_text("Looked at")


def make_and_revoke_a_token(desk: Desk) -> None:
    """Make a token that works, and revoke it."""
    page, url = desk.page, f"{desk.product.url}/api/v1/models/"
    desk.go("API tokens")
    page.fill("#token-form [name=note]", "walk")
    desk.press("Make the token")
    headers = {"Authorization": f"Token {page.locator('#token').inner_text()}"}
    assert httpx.get(url, headers=headers).status_code == 200
    page.locator(".cards tr", has_text="walk").get_by_role("link").click()
    desk.press("Revoke")
    until(lambda: httpx.get(url, headers=headers).status_code == 401, seconds=30)


def by_keyboard_alone(desk: Desk) -> None:
    """Predict, see the answer, its page, its model and the model's gate, with a ring around whatever has the focus."""
    page = desk.page
    page.goto("/")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    for field in ("#id_pclass", "#id_sex"):
        _tab_to(page, field)
        page.keyboard.press("ArrowDown")
    _tab_to(page, "#ask")
    page.keyboard.press("Enter")
    expect(page.locator("#answer .gauge__share")).to_be_visible()
    for link in ("#answer-prediction", ".lead a[href^='/models/']", ".tabs a[href='?tab=gate']"):
        _tab_to(page, link)
        with page.expect_navigation():
            page.keyboard.press("Enter")
    expect(page.locator(".tabs [aria-current]")).to_have_attribute("href", "?tab=gate")


def without_javascript(desk: Desk, page: Page) -> None:
    """Predict, see the answer and find it in the history: the page runs no script, and is signed in."""
    page.goto("/")
    page.select_option("#id_pclass", "1")
    page.select_option("#id_sex", "female")
    page.fill("#id_name", name := f"Walk, Miss. {desk.language}")
    page.click("#ask")
    expect(page.locator("#answer .gauge__share")).to_be_visible()
    address = page.get_attribute("#answer-prediction", "href")
    assert address
    # It is in the history once a worker has stored it.
    desk.product.wait(
        "/api/v1/predictions/", lambda found: address.split("/")[2] in [row["id"] for row in found["results"]]
    )
    page.goto("/predictions/?survived=true")
    expect(page.locator(f".cards a[href='{address}']")).to_have_text(name)


def garbled() -> bytes:
    """Return the sample with every fourth outcome turned round, and behind it a row of nonsense."""
    rows = list(csv.DictReader(io.StringIO((Path(settings.BASE_DIR) / "ingestion/sample/sample.csv").read_text())))
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    for row, is_wrong in zip(rows, cycle((True, False, False, False)), strict=False):
        writer.writerow(row | {"Survived": 1 - int(row["Survived"])} if is_wrong else row)
    return (out.getvalue() + "2001,1,9,Nobody,alien,old,0,0,1,free,,Z\n").encode()


def _champion(desk: Desk) -> int:
    models = desk.product.api.get("/api/v1/models/?page_size=100").json()["results"]
    return int(next(model["version"] for model in models if model["stage"] == "champion"))


def _tab_to(page: Page, selector: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert ring != "none", selector
            return
    raise AssertionError(selector)
