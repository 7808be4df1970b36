"""Every page of ours in a browser: axe finds nothing, no error, no foreign request, nothing wider than the screen."""

from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.test import Client
from playwright.sync_api import Page

from core.errors import TitanicError
from ingestion.models import Dataset, Source
from monitoring import alerts, performance
from monitoring import services as monitoring_services
from predictions import log
from tests.people import ELISABETH, OWEN
from tests.used_installation import LEFT_OUT
from tests.users import make_user
from training.models import ModelVersion

SHIFT = """window.shift = 0; new PerformanceObserver((list) => list.getEntries().forEach((entry) => {
window.shift += entry.hadRecentInput ? 0 : entry.value; })).observe({type: 'layout-shift', buffered: true})"""

#: Lists that a narrow screen would have to scroll sideways.
CUT_OFF = """[...document.querySelectorAll('.cards')].filter(list => list.scrollWidth > list.clientWidth)
.map(list => list.getAttribute('aria-label'))"""


@pytest.fixture
def session(champion: ModelVersion, live_server: Any, load: Callable[..., Dataset], sample: str) -> dict[str, str]:
    """An administrator's cookie, on a used installation: predictions, rejected rows, a failed job, checks, an alert."""
    client = Client()
    client.force_login(make_user("ann", "administrator"))
    make_user("ben", "viewer")
    for person in (OWEN, ELISABETH):
        client.post("/predict", {name: value for name, value in person.items() if value is not None})
    log.drain()
    load("\n".join([*sample.splitlines()[:40], "2000,1,9,X,alien,old,0,0,1,free,,Z"]), largest_problem_share=0.5)
    with pytest.raises(TitanicError):
        load("no,column\n1,2\n")
    Source.objects.create(name="harbour_" * 12, uri=f"gs://passengers/{'telegrams/' * 20}*")
    monitoring_services.check_drift(monitoring_services.queue_check())
    performance.scheduled_check()
    alerts.evaluate_alerts()
    return {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (390, "dark"),
        *(pytest.param(*one, marks=pytest.mark.long) for one in ((390, "light"), (1280, "light"), (1280, "dark"))),
    ],
)
@pytest.mark.timeout(300)
def test_every_page_is_sound(
    page: Page, live_server: Any, session: Any, width: int, scheme: Literal["light", "dark"]
) -> None:
    problems: list[str] = []
    page.context.add_cookies([session])
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.on("console", lambda message: problems.append(f"{page.url}: {message.text}"))
    page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))
    page.on(
        "request",
        lambda request: (
            problems.append(f"{page.url}: asks {request.url}")
            if not request.url.startswith((live_server.url, "data:"))
            else None
        ),
    )
    page.add_init_script(SHIFT)
    axe, waiting, seen = Axe(), ["/", "/search/"], set[str]()
    while waiting:
        address = waiting.pop()
        seen.add(address)
        answer = page.goto(address, wait_until="load")
        assert answer is not None
        if answer.status != 200:
            problems.append(f"{address}: {answer.status}")
        problems += [
            f"{address}: {found['id']} {[node['target'] for node in found['nodes']][:3]}"
            for found in axe.run(page).response["violations"]
        ]
        # On a busy machine a browser paints the half of a table: what shifts, shifts again.
        if page.evaluate("window.shift") and page.reload() and (shift := page.evaluate("window.shift")):
            problems.append(f"{address}: shifts by {shift}")
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            problems.append(f"{address}: wider than {width} px")
        problems += [f"{address}: cut off in {label}" for label in page.evaluate(CUT_OFF)] if width < 640 else []
        for link in page.eval_on_selector_all("a[href]", "links => links.map(link => link.getAttribute('href'))"):
            path = urlsplit(urljoin(address, link))
            target = path.path
            if not path.netloc and target not in seen and target not in waiting and not LEFT_OUT.search(link):
                waiting.append(target)

    assert len(seen) > 20
    assert not problems, "\n".join(problems)
