"""The form while it is filled in, and the answer that it gives: in words, at the fields, and without a script too."""

import json
import re
import shlex
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from playwright.sync_api import Page, expect

from core import throttles
from ingestion.passenger import EXAMPLES
from ingestion.schema import FIELDS
from predictions import log, rejections, services
from predictions.models import Prediction
from tests.people import CAST, ELISABETH, JAMES, OWEN
from training.models import ModelVersion

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


def check(client: Client, typed: dict[str, Any]) -> Any:
    return client.post("/predict/check", typed, headers=HTMX)


def derived(page: Any) -> dict[str, str]:
    """The derived features by name, as shown."""
    pairs = re.findall(r"<dt>\s*(.+?)\s*<small>.*?<dd>\s*(.+?)\s*</dd>", page.text, re.DOTALL)
    return dict(pairs)


def test_derived_features_are_shown_as_one_types(client: Client) -> None:
    page = check(client, {name: value for name, value in OWEN.items() if value is not None})

    assert page.status_code == 200
    assert derived(page) == {
        "Family size": "2",
        "Travels alone": "no",
        "Cabin known": "no",
        "Title": "Mr",
        "Class × fare": "21.75",
        "Age × fare": "159.5",
    }
    assert "siblings and spouses + parents and children + the passenger" in page.text


def test_what_cannot_be_told_yet_is_left_open(client: Client) -> None:
    page = check(client, {"fare": "10", "sibsp": "2"})

    shown = derived(page)
    assert (shown["Family size"], shown["Class × fare"], shown["Title"], shown["Age × fare"]) == (
        "3",
        "…",
        "…",
        "unknown",
    )
    # Nobody is told off for what is still to come.
    assert "field__error" not in page.text


def test_each_wrong_field_has_its_text(client: Client) -> None:
    wrong = check(client, {**OWEN, "age": "-5", "fare": "1_0"})
    joint = check(client, {**OWEN, "title": "Mrs"})
    unlikely = check(client, {**OWEN, "age": "4", "title": "Mr", "parch": "3"})

    assert re.findall(r'id="(\w+)_error"[^>]*>\s*<p class="field__error">(.+?)</p>', wrong.text) == [
        ("id_age", "Must be from 0 to 120."),
        ("id_fare", "Must be a number."),
    ]
    assert joint.text.count("contradicts the sex") == 2
    assert "A child of 4 years" in unlikely.text
    assert "field__error" not in unlikely.text


def test_hostile_text_is_checked_like_any_other(client: Client) -> None:
    for text in ("\0", "<script>alert(1)</script>", "9" * 400, "nan", "1e999"):
        page = check(client, {field.name: text for field in FIELDS})
        assert page.status_code == 200
        assert "<script>" not in page.text
    assert check(client, {}).status_code == 200


def test_a_check_is_no_prediction_and_no_rejection(client: Client, champion: ModelVersion) -> None:
    check(client, OWEN)
    check(client, {**OWEN, "age": "200"})
    log.drain()

    assert not Prediction.objects.exists()
    assert rejections.recent() == []


def test_checks_use_up_no_predictions(client: Client, champion: ModelVersion, settings: Any) -> None:
    settings.THROTTLE_ANON = "2/m"
    throttles._limiter.cache_clear()

    codes = [check(client, OWEN).status_code for _ in range(3)]

    assert codes == [200, 200, 429]
    assert client.post("/predict", OWEN).status_code == 200


def test_without_a_script_the_form_comes_back_checked(client: Client) -> None:
    page = client.post("/predict/check", {**OWEN, "age": "200"})

    assert "<html" in page.text
    assert "Must be from 0 to 120." in page.text
    assert derived(page)["Family size"] == "2"
    assert 'formaction="/predict/check"' in client.get("/").text
    assert client.get("/predict/check").status_code == 302


def test_examples_fill_the_form_and_each_is_answered(client: Client, champion: ModelVersion) -> None:
    for number, values in enumerate(EXAMPLES.values(), start=1):
        page = client.get(f"/?example={number}")

        initial = {field.name: field.value() for field in page.context["form"]}
        assert {name: initial[name] for name in values} == values
        assert client.post("/predict", page.context["form"].values()).status_code == 200
    assert {ELISABETH["name"], OWEN["name"], JAMES["name"]} <= {values.get("name") for values in EXAMPLES.values()}
    for nonsense in ("0", "99", "x", "", "\0", "-1"):
        assert client.get("/", {"example": nonsense, "from": nonsense}).context["form"]["age"].value() == ""


def test_each_field_has_its_help_one_press_away(client: Client) -> None:
    page = client.get("/").text

    for field in FIELDS:
        assert f'popovertarget="id_{field.name}_helptext"' in page
        assert re.search(rf'id="id_{field.name}_helptext"\s+popover', page)
    assert "From 0 to 120." in page


@pytest.mark.parametrize("person", CAST)
def test_the_answer_speaks_in_words(client: Client, champion: ModelVersion, person: dict[str, Any]) -> None:
    typed = {name: "" if value is None else value for name, value in person.items()}
    page = client.post("/predict", typed)
    detail = client.get(f"/predictions/{page.context['answer'].id}/")

    for shown in (page, detail):
        answer = shown.text.partition('id="answer"')[2] or shown.text
        facts = dict(
            re.findall(r"<dt>\s*(.+?)\s*(?:<small>.*?)?</dt>\s*<dd>\s*(.+?)\s*(?:<span.*?)?</dd>", answer, re.DOTALL)
        )
        assert facts["Sex"] in ("Male", "Female")
        assert facts["Title"] in ("Mr", "Miss", "Mrs")
        assert facts["Class"] in ("First", "Second", "Third")
        assert not re.search(r"Pclass|Isalone|HasCabin|Age_Fare", shown.text)


def test_the_curl_line_asks_the_same(client: Client, api: Any, champion: ModelVersion) -> None:
    page = client.post("/predict", {**ELISABETH, "name": 'O\'Brien, Miss. $(rm) "x"'})

    arguments = shlex.split(page.context["curl"])
    body = json.loads(arguments[arguments.index("-d") + 1])
    assert arguments[1] == "http://testserver/api/v1/predictions/"
    again = api.post("/api/v1/predictions/", body, format="json").json()
    assert again["probability"] == page.context["answer"].probability
    assert page.context["link"] == f"http://testserver/predictions/{page.context['answer'].id}/"


def test_a_prediction_can_be_changed_and_asked_again_by_who_may_read_it(
    client: Client, champion: ModelVersion, settings: Any
) -> None:
    (answer,) = services.predict(services.parse_one(JAMES))

    assert f"/?from={answer.id}" in client.get(f"/predictions/{answer.id}/").text
    assert client.get(f"/?from={answer.id}").context["form"]["name"].value() == JAMES["name"]
    assert client.get(f"/?from={uuid4()}").context["form"]["name"].value() == ""
    settings.LOGIN_REQUIRED = True
    assert client.get(f"/?from={answer.id}").context["form"]["name"].value() == ""


def test_reasons_come_with_the_answer(client: Client, champion: ModelVersion) -> None:
    page = client.post("/predict", OWEN)
    address = f"/predictions/{page.context['answer'].id}/why/?short=1"

    reasons = client.get(address, headers=HTMX)

    assert address in page.text
    assert len(reasons.context["steps"]) == 4
    assert "All others" in reasons.text
    assert "Strongest reasons" in reasons.text


HELP = "#id_age_helptext:popover-open"


def is_derived_and_checked_as_one_types(page: Page) -> None:
    """A derived value follows what is typed, and a wrong value has its text at the field until it is mended."""
    for field, typed in (("#id_sibsp", "3"), ("#id_age", "-1")):
        page.focus(field)
        page.keyboard.press("ControlOrMeta+A")
        page.keyboard.type(typed)
    expect(page.locator("#derived dd").first).to_have_text("4")
    expect(page.locator("#id_age_error")).to_have_text("Must be from 0 to 120.")
    expect(page.locator("#id_age")).to_have_attribute("aria-invalid", "true")
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("30")
    expect(page.locator("#id_age_error")).to_have_text("")


def is_answered(page: Page) -> None:
    """The answer moves calmly, or not at all where one wants no motion, and says what the watch of drift says."""
    page.wait_for_selector("#answer .gauge__share")
    moves = "getComputedStyle(document.querySelector('#answer .gauge__share')).animationName"
    assert page.evaluate(moves) == "gauge"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(moves) == "none"
    expect(page.locator("#answer")).to_contain_text("Whether live inputs have drifted shows after some predictions.")


def by_mouse(page: Page) -> None:
    """Help by pointing, an example, the derived values, the text at a wrong field, the answer, a copy, reset."""
    page.hover("#tip_age")
    page.wait_for_selector(HELP)
    page.mouse.move(0, 0)
    page.wait_for_selector(HELP, state="hidden")
    page.get_by_text("Mr Braund, third class").click()
    expect(page.locator("#id_age")).to_have_value("22")
    is_derived_and_checked_as_one_types(page)
    page.click("#ask")
    is_answered(page)
    page.click("[data-copy=answer-curl]")
    page.wait_for_selector("#answer >> text=Copied.")
    page.click("#reset")
    page.wait_for_selector("#answer .gauge__share", state="detached")
    expect(page.locator("#id_age")).to_have_value("")


def by_keyboard(page: Page) -> None:
    """Help by Enter, away by Escape, choices by their letter, derived values and texts, the answer by Enter."""
    page.focus("#tip_age")
    page.keyboard.press("Enter")
    page.wait_for_selector(HELP)
    page.keyboard.press("Escape")
    page.wait_for_selector(HELP, state="hidden")
    for choice, letter in (("#id_pclass", "T"), ("#id_sex", "F")):
        page.focus(choice)
        page.keyboard.press(letter)
    is_derived_and_checked_as_one_types(page)
    page.keyboard.press("Enter")
    is_answered(page)


def by_touch(page: Page) -> None:
    """Help by a tap, away by another beside it, an example, the answer, a copy."""
    page.tap("#tip_age")
    page.wait_for_selector(HELP)
    page.tap("h1")
    page.wait_for_selector(HELP, state="hidden")
    page.get_by_text("Miss Allen, first class").tap()
    expect(page.locator("#id_age")).to_have_value("29")
    # Once a field is tapped, the screen's keyboard types.
    page.tap("#id_age")
    is_derived_and_checked_as_one_types(page)
    page.tap("#ask")
    is_answered(page)
    page.tap("[data-copy=answer-link]")
    page.wait_for_selector("#answer >> text=Copied.")


def test_the_form_by_mouse_keyboard_and_touch(live_server: Any, champion: ModelVersion, page: Page) -> None:
    problems: list[str] = []
    browser = page.context.browser
    assert browser is not None
    screen: Any = {"base_url": live_server.url, "viewport": {"width": 390, "height": 800}}

    for way in (by_mouse, by_keyboard, by_touch):
        tab = browser.new_context(**screen, has_touch=way is by_touch).new_page()
        tab.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.goto("/")
        way(tab)
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")

    assert problems == []
