"""A form whose request fails says so beside it; one that is on its way is busy, and is not sent twice."""

from playwright.sync_api import Locator, Page, Route, expect

from ingestion.models import Dataset
from training.models import ModelVersion

#: A form that the browser sends itself, sent twice, and taken back.
TWICE = """async (form) => {
    form.requestSubmit();
    await new Promise((done) => setTimeout(done, 50));
    const isBusy = form.getAttribute("aria-busy");
    form.requestSubmit();
    document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
    return [isBusy, form.getAttribute("aria-busy")];
}"""


def test_a_failed_request_is_told_near_the_form_and_none_is_sent_twice(page: Page, champion: ModelVersion) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.goto("/")
    form, button = page.locator("#passenger"), page.locator("#ask")
    form.locator("[name=pclass]").select_option("1")
    form.locator("[name=sex]").select_option("female")
    # The form is checked as it is filled in: that the last check is over says so.
    page.wait_for_load_state("networkidle")

    page.route("**/predict", lambda route: route.abort())
    button.click()
    expect(_told(form)).to_contain_text("cannot be reached")
    expect(button).to_be_enabled()
    assert form.locator("[name=sex]").input_value() == "female"

    page.unroute("**/predict")
    page.route("**/predict", hold)
    button.click()
    expect(form).to_have_attribute("aria-busy", "true")
    expect(button).to_be_disabled()
    expect(_told(form)).to_have_count(0)
    form.evaluate("form => form.requestSubmit()")
    held[0].fulfill(status=502, body="Bad gateway")
    expect(_told(form)).to_contain_text("The server failed")
    expect(form).not_to_have_attribute("aria-busy", "true")
    assert len(held) == 1

    page.evaluate("htmx.config.timeout = 50")
    button.click()
    expect(_told(form)).to_contain_text("has not answered in time")

    page.unroute("**/predict")
    page.evaluate("htmx.config.timeout = 30000")
    page.context.clear_cookies()
    button.click()
    expect(_told(form)).to_contain_text("Your session expired")

    _told(form).get_by_role("link").click()
    page.locator("[name=pclass]").select_option("1")
    page.locator("[name=sex]").select_option("female")
    button.click()
    expect(page.locator("#answer")).to_contain_text("%")
    expect(_told(form)).to_have_count(0)

    page.route("**/setlang/", hold)
    busy = page.locator("form[action$='setlang/']").first.evaluate(TWICE)
    assert busy == ["true", None]
    assert len(held) == 3


def _told(form: Locator) -> Locator:
    return form.get_by_role("alert")


def test_what_updates_itself_waits_while_it_is_hidden_and_leaves_alone_what_is_the_same(
    page: Page, live_server: object, transactional_db: None
) -> None:
    sent: list[str] = []
    page.clock.install()
    page.goto("/runs/")
    page.on("request", lambda request: sent.append(request.url))
    page.locator("#rows a, #rows button").first.focus()
    page.evaluate("document.querySelector('#rows').dataset.old = 'yes'")

    with page.expect_response("**/runs/"):
        page.clock.run_for(21_000)
    expect(page.locator("#rows[data-old]")).to_be_visible()

    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    del sent[:]
    page.clock.run_for(60_000)
    assert not sent

    page.evaluate("delete document.hidden")
    Dataset.objects.create(name="new", uri="x")
    page.clock.run_for(21_000)
    expect(page.locator("#rows:not([data-old])")).to_contain_text("Dataset")
    expect(page.locator("#rows")).to_have_attribute("hx-trigger", "every 2s")
