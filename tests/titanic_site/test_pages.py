"""Every page: it opens, within its query budget, full and empty; what changes something wants POST."""

import gzip
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.template import Context, Template, engines
from django.templatetags.static import static
from django.test import Client
from django_celery_beat.models import PeriodicTask
from rest_framework.test import APIClient

from core.jobs import State
from features.definition import FEATURES
from ingestion.models import Dataset, RowProblem, Source
from ingestion.schema import FIELDS
from monitoring import services as monitoring_services
from monitoring.models import DriftCheck
from predictions import log
from predictions import services as prediction_services
from predictions.models import Channel, Prediction, ScoringJob
from tests.people import ELISABETH, JAMES, OWEN
from titanic_site.models import AccessToken
from training.models import ModelVersion, StageChange, TrainingRun

#: Page -> how many queries it may make: one of them is the top bar's.
BUDGETS = {
    "/": 4, "/overview/": 20, "/datasets/": 3, "/features/": 5, "/models/": 4, "/runs/": 9, "/predictions/": 3,
    "/scoring/": 2, "/monitoring/": 7, "/monitoring/drift/": 5, "/monitoring/drift/state/": 1,
    "/monitoring/performance/": 5, "/monitoring/alerts/": 2, "/monitoring/alerts/rules/": 2, "/schedules/": 4,
    "/tokens/": 2, "/accounts/login/": 1, "/storage/": 5, "/search/": 1,
}  # fmt: skip
STATIC = Path(django_settings.BASE_DIR) / "titanic_site" / "static"
#: Where the stylesheet's tokens end.
RULES = "/* Rules */"
HTMX = {"HTTP_HX_REQUEST": "true"}


class Undefined(str):
    """What a template prints for a variable that is not there."""

    __slots__ = ()

    def __mod__(self, name: object) -> str:
        pytest.fail(f"undefined variable in a template: {name}")


@pytest.fixture(autouse=True)
def _undefined_variables_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines["django"].engine, "string_if_invalid", Undefined("%s"))  # type: ignore[attr-defined]


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


class Page(HTMLParser):
    """The start tags of a page."""

    def __init__(self, response: Any) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(response.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, *names: str) -> Iterator[dict[str, str | None]]:
        return (attributes for tag, attributes in self.tags if tag in names)

    def with_id(self, element_id: str) -> dict[str, str | None]:
        return next(attributes for _tag, attributes in self.tags if attributes.get("id") == element_id)


def typed(person: dict[str, Any]) -> dict[str, Any]:
    """A person as a browser sends one."""
    return {name: "" if value is None else value for name, value in person.items()}


@pytest.mark.parametrize("url", BUDGETS)
@pytest.mark.django_db
def test_an_empty_system_has_every_page(client: Client, url: str) -> None:
    assert client.get(url).status_code == 200


@pytest.mark.parametrize("url", BUDGETS)
def test_a_full_one_too_within_its_query_budget(
    client: Client, champion: ModelVersion, url: str, django_assert_max_num_queries: Any
) -> None:
    client.post("/predict", typed(OWEN))
    log.drain()
    ScoringJob.objects.bulk_create([ScoringJob(name="x", upload="x.csv") for _ in range(3)])
    DriftCheck.objects.bulk_create([DriftCheck(version=champion) for _ in range(3)])

    # The champion looks once a second whether it is still in charge: one question of /monitoring/.
    with django_assert_max_num_queries(BUDGETS[url]):
        assert client.get(url).status_code == 200


def test_every_detail_page_opens(client: Client, champion: ModelVersion) -> None:
    check = monitoring_services.queue_check()
    monitoring_services.check_drift(check)
    scoring = prediction_services.queue_scoring(file=SimpleUploadedFile("x.csv", b"x"), by=None)
    batch = champion.feature_batch
    things: list[Any] = [champion, batch, batch.dataset, champion.run, check, scoring]

    for thing in things:
        assert client.get(thing.get_absolute_url()).status_code == 200


@pytest.mark.parametrize(
    "url", ["/datasets/99/", "/models/99/", "/runs/nothing/1/again/", "/nowhere/", "/predictions/not-a-uuid/"]
)
@pytest.mark.django_db
def test_what_is_not_there_is_404(client: Client, url: str) -> None:
    assert client.post(url).status_code in (404, 405)
    assert client.get(url).status_code in (404, 405)


@pytest.mark.parametrize(
    "url",
    ["/datasets/ingest/", "/features/build/", "/models/1/annotate/", "/scoring/start/",
     "/models/1/challenge/", "/monitoring/drift/check/", "/pipeline/", "/runs/dataset/1/cancel/",
     "/runs/dataset/1/again/"],
)  # fmt: skip
@pytest.mark.django_db
def test_what_changes_something_rejects_get_and_wants_a_token(url: str) -> None:
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)

    assert client.get(url).status_code == 405
    refused = client.post(url)
    assert refused.status_code == 403
    assert "load the page again" in refused.text


def test_who_opens_the_address_of_the_answer_is_led_to_the_form(client: Client) -> None:
    for answer in (client.get("/predict"), client.head("/predict")):
        assert (answer.status_code, answer["Location"]) == (302, "/")
    assert client.put("/predict").status_code == 405
    assert Client(enforce_csrf_checks=True).post("/predict").status_code == 403


# The form


@pytest.mark.django_db
def test_the_form_has_every_field_of_the_declaration_labelled(client: Client) -> None:
    page = Page(client.get("/"))

    controls = {control["name"]: control for control in page.all("input", "select") if control.get("id")}
    labels = {label["for"] for label in page.all("label")}
    assert [rule.name for rule in FIELDS if rule.name not in controls] == []
    assert {control["id"] for control in controls.values()} <= labels
    assert {name for name, control in controls.items() if "required" in control} == {
        rule.name for rule in FIELDS if rule.is_required
    }


@pytest.mark.django_db
def test_the_browser_is_told_the_limits(client: Client) -> None:
    controls = {control.get("name"): control for control in Page(client.get("/")).all("input")}

    assert (controls["age"]["min"], controls["age"]["max"], controls["age"]["step"]) == ("0", "120", "any")
    assert controls["sibsp"]["step"] == "1"
    assert controls["cabin"]["maxlength"] == "60"


@pytest.mark.django_db
def test_the_empty_choice_says_what_it_does(client: Client) -> None:
    page = client.get("/").text

    assert re.findall(r'<option value="" selected>([^<]+)', page) == ["Choose…", "Choose…", "Unknown", "From the name"]


def test_the_form_answers(client: Client, champion: ModelVersion) -> None:
    page = client.post("/predict", typed(ELISABETH))

    assert page.status_code == 200
    assert "Predicted: survived" in page.text
    assert page.context["answer"].model_version == champion.version
    assert len(page.context["features"]) == len(FEATURES)


def test_the_answer_is_a_gauge_with_interval_and_threshold(client: Client, champion: ModelVersion) -> None:
    page = client.post("/predict", typed(ELISABETH))

    share, interval = page.context["answer"].probability, page.context["interval"]
    assert f'stroke-dasharray="{100 * share:.2f} 200"' in page.text
    assert f'stroke-dasharray="0 {100 * interval.low:.2f} ' in page.text
    assert 'stroke-dasharray="0 50.00 0.8 200"' in page.text
    assert f"of {interval.rows} training rows" in page.text


def test_a_prediction_has_its_page_before_and_after_it_is_drained(client: Client, champion: ModelVersion) -> None:
    answer = client.post("/predict", typed(JAMES)).context["answer"]

    waiting = client.get(f"/predictions/{answer.id}/")
    log.drain()
    drained = client.get(f"/predictions/{answer.id}/")

    assert JAMES["name"] in waiting.text
    assert JAMES["name"] in drained.text


def test_the_form_keeps_what_was_typed_and_says_beside_the_field_what_to_correct(
    client: Client, champion: ModelVersion
) -> None:
    response = client.post("/predict", {**OWEN, "age": "200"})
    control = Page(response).with_id("id_age")

    assert response.status_code == 400
    assert "Must be from 0 to 120." in response.text
    assert (control["value"], control["aria-invalid"]) == ("200", "true")
    assert "autofocus" in control
    assert Page(response).with_id("id_age_error") is not None
    assert "id_age_error" in (control["aria-describedby"] or "")


def test_old_t23_hostile_input_is_shown_as_text_and_refused(client: Client, champion: ModelVersion) -> None:
    page = client.post("/predict", {**OWEN, "name": "<script>alert(1)</script>" * 20})

    assert page.status_code == 400
    assert "<script>alert" not in page.text


def test_old_t15_the_old_form_is_understood_but_not_believed(client: Client, champion: ModelVersion) -> None:
    old = {"Age": 22, "Fare": 7.25, "Pclass": 3, "Sex": 0, "Embarked": 2, "Familysize": 2, "Isalone": 0,
           "HasCabin": 0, "Title": 0, "Pclass_Fare": 21.75, "Age_Fare": 159.5}  # fmt: skip

    answer, refused = client.post("/predict", old), client.post("/predict", {**old, "Isalone": 1})

    ours = client.post("/predict", OWEN)
    assert answer.context["answer"].probability == ours.context["answer"].probability
    assert refused.status_code == 400
    assert "Isalone" in refused.text


# Refusals


def test_without_a_champion_it_says_so(client: Client, db: None) -> None:
    page = client.post("/predict", OWEN)

    assert page.status_code == 503
    assert "No model is serving yet" in page.text


def test_an_open_page_gets_the_refusal_among_its_notices(client: Client, db: None) -> None:
    fragment = client.post("/predict", OWEN, **HTMX)

    assert fragment.status_code == 503
    assert "<html" not in fragment.text
    assert "No model is serving yet" in fragment.text
    assert (fragment["HX-Retarget"], fragment["HX-Reselect"]) == ("#notices", "#error")
    assert Page(client.get("/")).with_id("notices")["aria-live"] == "polite"


def test_a_poll_that_is_refused_leaves_the_page_as_it_is(client: Client, db: None) -> None:
    with patch("titanic_site.job_list.newest", side_effect=OperationalError("away")):
        answer = client.get("/runs/", **HTMX)

    assert answer.status_code == 503
    assert "HX-Reswap" not in answer


def test_a_refusal_is_a_page(client: Client, db: None) -> None:
    page = client.post("/models/train/")

    assert page.status_code == 409
    assert "build one first" in page.text


def test_a_broken_page_says_so_and_asks_nothing_of_the_database(
    client: Client, db: None, django_assert_num_queries: Any
) -> None:
    with patch("titanic_site.job_list.newest", side_effect=RuntimeError), django_assert_num_queries(0):
        page = client.get("/runs/")

    assert page.status_code == 500
    assert "The error is in the log" in page.text


def test_a_host_that_is_not_ours_gets_a_page(client: Client) -> None:
    page = client.get("/", HTTP_HOST="elsewhere.example")

    assert page.status_code == 400
    assert "cannot be understood" in page.text


# Lists


@pytest.mark.parametrize(
    "query", ["?before=rubbish", "?before=0", "?model=x&source=y&survived=z", "?before=%00", "?model=99999999999999"]
)
@pytest.mark.parametrize("url", ["/predictions/", "/datasets/", "/runs/", "/models/"])
@pytest.mark.django_db
def test_a_strange_address_is_an_ordinary_page(client: Client, url: str, query: str) -> None:
    assert client.get(url + query).status_code == 200


def test_pages_follow_each_other_without_gap(client: Client, db: None) -> None:
    for _ in range(51):
        Dataset.objects.create(name="x", uri="x")

    first = client.get("/datasets/").context["page"]
    second = client.get(f"/datasets/?{first.next_page}").context["page"]

    assert len({row.pk for row in [*first.rows, *second.rows]}) == 51
    assert not second.next_page


def test_predictions_are_filtered_by_model_result_and_door(client: Client, champion: ModelVersion) -> None:
    for person in (ELISABETH, OWEN):
        client.post("/predict", typed(person))
    log.drain()

    def shown(query: str) -> int:
        return len(client.get(f"/predictions/?{query}").context["page"].rows)

    assert (shown(""), shown("survived=1"), shown("survived=0")) == (2, 1, 1)
    assert (shown(f"model={champion.version}"), shown("model=77")) == (2, 0)
    assert (shown(f"source={Channel.FORM}"), shown(f"source={Channel.API}")) == (2, 0)
    assert (shown("scoring_job=5"), shown("since=2020-01-01&until=2020-01-02"), shown("survived=&model=")) == (0, 0, 2)
    assert "No prediction matches the filter" in client.get("/predictions/?model=77").text


def test_a_filter_that_cannot_be_read_is_named_beside_its_field(client: Client, api: APIClient) -> None:
    for name in ("survived", "source", "model", "scoring_job", "since", "until"):
        page = client.get("/predictions/", {name: "x<y"})
        answer = api.get("/api/v1/predictions/", {name: "x<y"})

        assert f'<div id="id_{name}_error"><p class="field__error">“x&lt;y” cannot be read.</p></div>' in page.text
        assert not page.context["page"].rows
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["attr"], error["detail"]) == (400, name, "“x<y” cannot be read.")


def test_each_cell_carries_its_columns_heading_for_narrow_screens(client: Client, champion: ModelVersion) -> None:
    client.post("/predict", typed(OWEN | {"name": None, "age": 4}))
    client.post("/predict", typed(OWEN | {"name": None, "age": 0.92}))
    log.drain()
    ScoringJob.objects.create(name="x" * 200, upload="x.csv", row_count=2_000_000)

    history, jobs = client.get("/predictions/").text, client.get("/scoring/", headers={"Accept-Language": "es"}).text

    labels = ["Row · When (UTC)", "Result", "Probability", "Model", "Channel"]
    assert re.findall(r'<td[^>]* data-label="([^"]*)"|<td', history) == labels * 2
    assert all(text in history for text in ("Male, Third, 4<", "Male, Third, 0.92<"))
    assert '<td data-label="Filas" class="number">2.000.000</td>' in jobs


@pytest.mark.parametrize("text", ['He said "no"', "<b>", "a & b", "'"])
def test_a_heading_is_a_label_as_it_is(text: str) -> None:
    head, body = "<thead><tr><th>{{ text }}</th><td></td></tr></thead>", "<tbody><tr><td>1</td><td> </td></tr></tbody>"
    template = Template(f"{{% load titanic %}}{{% cards text %}}<table>{head}{body}</table>{{% endcards %}}")
    page = Page(SimpleNamespace(text=template.render(Context({"text": text}))))

    assert next(page.all("div"))["aria-label"] == text
    assert [cell.get("data-label") for cell in page.all("td")] == [None, text, ""]


def test_what_is_listed_by_name_or_time_is_paged_too(client: Client, champion: ModelVersion) -> None:
    user = User.objects.create_superuser("ann")
    client.force_login(user)
    Source.objects.bulk_create([Source(name=f"source {n:02}", uri=f"https://example.org/{n}") for n in range(45)])
    PeriodicTask.objects.bulk_create([PeriodicTask(name=f"task {n:02}", task="x") for n in range(35)])
    StageChange.objects.bulk_create(
        [StageChange(version=champion, before="retired", after="champion") for _ in range(60)]
    )
    for _ in range(52):
        AccessToken.objects.create(user)
    lists = {
        "/datasets/": ("sources", {f"source {n:02}" for n in range(45)}),
        "/schedules/": ("page", {f"task {n:02}" for n in range(35)}),
        "/models/history/": ("page", {change.pk for change in StageChange.objects.promotions()}),
        "/tokens/": ("mine", {token.pk for token in AccessToken.objects.filter(user=user)}),
    }

    for url, (name, keys) in lists.items():
        first = client.get(url).context[name]
        second = client.get(f"{url}?{first.next_page}")
        shown = [*first.rows, *second.context[name].rows]
        assert {row.name if hasattr(row, "name") else row.pk for row in shown} >= keys, url
        assert len({row.pk for row in shown}) == len(shown) <= 100
        assert f'href="?{second.context[name].query_first}"' in second.text
    history = client.get("/models/history/").context["page"].rows
    assert [change.until for change in history] == [None, *(change.at for change in history[:-1])]
    assert client.get("/schedules/?after=%00").status_code == client.get("/datasets/?sources=%00").status_code == 200
    assert client.get("/tokens/?made_before=soon").status_code == 200


def test_problems_are_paged_in_the_files_order(client: Client, db: None) -> None:
    dataset = Dataset.objects.create(name="x", uri="x")
    RowProblem.objects.bulk_create(
        [RowProblem(dataset=dataset, line_number=line, column="x", code="x", message="x") for line in range(2, 153)]
    )

    first = client.get(f"/datasets/{dataset.pk}/").context["page"]
    second = client.get(f"/datasets/{dataset.pk}/?{first.next_page}").context["page"]

    assert [problem.line_number for problem in [*first.rows, *second.rows]] == list(range(2, 153))
    assert second.next_page == ""


def test_problems_as_csv_run_no_formula(client: Client, db: None) -> None:
    dataset = Dataset.objects.create(name="x", uri="x")
    RowProblem.objects.create(dataset=dataset, line_number=2, column="x", value="=1+1", code="x", message="bad")

    table = client.get(f"/datasets/{dataset.pk}/problems.csv")

    assert "2,x,'=1+1,error,bad" in table.text


def test_a_dataset_shows_the_features_and_models_made_of_it(client: Client, champion: ModelVersion) -> None:
    address = champion.feature_batch.dataset.get_absolute_url()

    assert f'hx-get="{address}lineage/"' in client.get(address).text
    page = client.get(f"{address}lineage/")
    assert champion.feature_batch.get_absolute_url() in page.text
    assert champion.get_absolute_url() in page.text


def test_a_feature_batch_shows_the_trainings_from_it(client: Client, champion: ModelVersion) -> None:
    address = champion.feature_batch.get_absolute_url()

    assert f'hx-get="{address}runs/"' in client.get(address).text
    assert champion.get_absolute_url() in client.get(f"{address}runs/").text


def test_an_empty_list_has_a_button_to_go_on_with(client: Client, db: None) -> None:
    for url in ("/datasets/", "/features/", "/models/", "/runs/", "/predictions/", "/scoring/", "/monitoring/drift/"):
        empty = client.get(url).text.partition('class="empty"')[2]
        assert "button--main" in empty, url


# Jobs


@pytest.mark.parametrize("url", ["/datasets/", "/runs/", "/datasets/{pk}/"])
def test_a_page_with_an_open_job_polls_until_it_is_over(client: Client, db: None, url: str) -> None:
    dataset = Dataset.objects.create(name="x", uri="x")
    url = url.format(pk=dataset.pk)

    polling = [tag for _name, tag in Page(client.get(url)).tags if tag.get("hx-trigger") == "every 2s"]
    Dataset.objects.update(state=State.SUCCEEDED)
    over = client.get(url)

    assert [tag["hx-get"] for tag in polling] == [url]
    assert polling[0]["hx-select"] == f"#{polling[0]['id']}"
    assert ("every 2s" in over.text, "every 20s" in over.text) == (False, url.count("/") == 2)


def test_the_answer_to_a_post_does_not_poll_its_own_address(client: Client, db: None) -> None:
    ScoringJob.objects.create(name="x", upload="x.csv")

    page = client.post("/scoring/start/")

    assert page.status_code == 400
    assert "every 2s" not in page.text


def test_a_running_job_shows_how_far_it_is(client: Client, db: None) -> None:
    dataset = Dataset.objects.create(name="x", uri="x", state=State.RUNNING, progress=0.4)

    bar = next(Page(client.get(dataset.get_absolute_url())).all("progress"))

    assert float(bar["value"] or 0) == 0.4


def test_a_run_is_cancelled_and_started_again(client: Client, db: None) -> None:
    dataset = Dataset.objects.create(name="x", uri="x")

    cancelled = client.post(f"/runs/dataset/{dataset.pk}/cancel/")
    again = client.post(f"/runs/dataset/{dataset.pk}/again/")

    successor = Dataset.objects.get(state=State.QUEUED)
    assert cancelled["Location"] == dataset.get_absolute_url()
    assert again["Location"] == successor.get_absolute_url()
    assert Dataset.objects.get(pk=dataset.pk).state == State.CANCELLED


@pytest.mark.parametrize(("is_done", "text"), [(False, "goes on with the others"), (True, "put the results together")])
def test_a_cancelled_scoring_says_what_is_left_of_it(client: Client, db: None, is_done: bool, text: str) -> None:
    job = ScoringJob.objects.create(name="x", upload="x.csv", state=State.CANCELLED)
    for number in range(2):
        job.parts.create(number=number, start=0, end=1, line=1, is_done=is_done or number == 0)

    assert re.findall(r"Started again, it ([^.]+)\.", client.get(job.get_absolute_url()).text)[0].endswith(text)


def test_the_next_step_is_one_button(client: Client, champion: ModelVersion) -> None:
    started = client.post("/pipeline/")

    assert started["Location"] == TrainingRun.objects.get(state=State.QUEUED).get_absolute_url()


def test_an_uploaded_file_becomes_a_dataset_and_a_scoring_job(client: Client, db: None) -> None:
    dataset = client.post("/datasets/ingest/", {"file": SimpleUploadedFile("a.csv", b"x")})
    scoring = client.post("/scoring/start/", {"file": SimpleUploadedFile("b.csv", b"x")})

    assert dataset["Location"] == Dataset.objects.get(name="a.csv").get_absolute_url()
    assert scoring["Location"] == ScoringJob.objects.get(name="b.csv").get_absolute_url()


# Who may see what


@pytest.mark.usefixtures("login_required")
def test_with_login_required_only_the_form_is_open(client: Client, champion: ModelVersion) -> None:
    is_open = {"/", "/accounts/login/", "/healthz", "/readyz", "/metrics", "/predict", "/favicon.ico"}

    for url in [*BUDGETS, "/readyz", "/healthz", "/metrics", "/predict", "/favicon.ico", "/api/v1/docs/"]:
        answer = client.get(url)
        if url in is_open or url.startswith("/api/"):
            assert "login" not in answer.headers.get("Location", ""), url
        else:
            assert answer["Location"].startswith("/accounts/login/"), url
    assert client.post("/predict", typed(OWEN)).status_code == 200
    assert client.post("/pipeline/")["Location"].startswith("/accounts/login/")


@pytest.mark.usefixtures("login_required")
def test_who_is_signed_in_sees_the_rest(client: Client, champion: ModelVersion, django_user_model: Any) -> None:
    client.force_login(django_user_model.objects.get(username="admin"))

    page = client.get("/datasets/")

    assert page.status_code == 200
    assert "Sign out admin" in page.text


# Looks


def test_pages_are_served_with_a_strict_policy(client: Client, db: None) -> None:
    policy = client.get("/").headers["Content-Security-Policy"]

    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("url", BUDGETS)
def test_no_page_has_anything_the_policy_forbids(client: Client, champion: ModelVersion, url: str) -> None:
    page = Page(client.get(url))

    assert not [tag for tag in page.tags if "style" in tag[1] or tag[0] == "style"]
    assert not [tag for tag in page.tags if any(name.startswith("on") for name in tag[1])]
    # A chart's figures are no script, whatever their tag is called.
    scripts = [script for script in page.all("script") if script.get("type") != "application/json"]
    assert all(script.get("src", "").startswith("/static/") for script in scripts)


def test_pages_and_their_files_are_compressed_and_files_are_kept(client: Client, champion: ModelVersion) -> None:
    page = client.get("/", headers={"Accept-Encoding": "gzip"})
    styles = static("css/app.css")
    sheet = client.get(styles, headers={"Accept-Encoding": "gzip"})

    assert page["Content-Encoding"] == sheet["Content-Encoding"] == "gzip"
    assert "immutable" in sheet["Cache-Control"]
    assert gzip.decompress(b"".join(sheet)).startswith(b"/*")
    part = client.get(styles, headers={"Accept-Encoding": "gzip", "Range": "bytes=0-1"})
    assert (part.status_code, b"".join(part)) == (206, b"/*")


def test_what_programs_read_is_not_compressed(api: APIClient, champion: ModelVersion) -> None:
    answers = [
        api.post("/api/v1/predictions/", OWEN, format="json", headers={"Accept-Encoding": "gzip"}),
        api.get("/metrics", headers={"Accept-Encoding": "gzip"}),
    ]

    assert not any(answer.has_header("Content-Encoding") for answer in answers)
    assert api.get("/api/v1/schema/", headers={"Accept-Encoding": "gzip"})["Content-Encoding"] == "gzip"


def test_pages_that_name_no_icon_have_one_too(client: Client) -> None:
    address = client.get("/favicon.ico")["Location"]

    assert b"".join(client.get(address)).startswith(b"<svg")


@pytest.mark.parametrize("url", ["/datasets/", "/models/", "/runs/", "/features/"])
def test_what_is_wider_than_the_screen_is_reached_by_the_keyboard(
    client: Client, champion: ModelVersion, url: str
) -> None:
    scrollers = [tag for tag in Page(client.get(url)).all("div") if "table" in (tag.get("class") or "").split()]

    assert scrollers
    assert all(tag["tabindex"] == "0" and tag["role"] == "region" and tag["aria-label"] for tag in scrollers)


@pytest.mark.parametrize(("url", "name"), [("/", "Predict"), ("/models/", "Models"), ("/monitoring/drift/", "Drift")])
@pytest.mark.django_db
def test_the_navigation_says_where_one_is(client: Client, url: str, name: str) -> None:
    # Once in the side bar, once in the menu of a narrow screen.
    assert re.findall(r'aria-current="page">(\w+)', client.get(url).text) == [name, name]


def test_colours_and_sizes_come_from_the_tokens() -> None:
    assert [path.name for path in (STATIC / "css").iterdir()] == ["app.css"]
    _tokens_part, rules = (STATIC / "css/app.css").read_text().split(RULES)
    text = re.sub(r"/\*.*?\*/|@media[^{]*", "", rules, flags=re.DOTALL)

    assert re.findall(r"#[0-9a-f]{3,8}\b|rgba?\(|\d(?:px|rem|em)\b", text) == []
    # A rule that is left open swallows those after it.
    assert rules.count("{") == rules.count("}")
    assert set(re.findall(r"var\((--[\w-]+)", text)) <= _tokens("light").keys()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "ground"),
    [("ink", "ground"), ("ink", "surface"), ("quiet", "ground"), ("quiet", "surface"), ("quiet", "raised"),
     ("accent", "ground"), ("accent", "surface"), ("accent", "accent-ground"), ("on-accent", "accent"),
     ("on-accent", "accent-hover"), ("ink", "accent-ground"), ("good", "good-ground"), ("good", "surface"),
     ("bad", "bad-ground"), ("bad", "surface"), ("busy", "busy-ground")],
)  # fmt: skip
def test_text_has_the_contrast_of_wcag_aa(scheme: str, ink: str, ground: str) -> None:
    tokens = _tokens(scheme)

    assert _contrast(tokens[f"--{ink}"], tokens[f"--{ground}"]) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_edge_of_a_control_can_be_seen(scheme: str) -> None:
    tokens = _tokens(scheme)

    assert _contrast(tokens["--line-strong"], tokens["--surface"]) >= 3


def _tokens(scheme: str) -> dict[str, str]:
    tokens = dict(re.findall(r"(--[\w-]+): ([^;]+);", (STATIC / "css/app.css").read_text().split(RULES)[0]))
    place = r"\1" if scheme == "light" else r"\2"
    return {name: re.sub(r"light-dark\((.+), (.+)\)", place, value) for name, value in tokens.items()}


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_predictions_are_listed_without_counting(
    client: Client, champion: ModelVersion, django_assert_num_queries: Any
) -> None:
    Prediction.objects.all().delete()
    with django_assert_num_queries(3) as captured:
        client.get("/predictions/")

    own = [query["sql"] for query in captured.captured_queries if "predictions_prediction" in query["sql"]]
    assert own
    assert not any(re.search(r"COUNT\(|OFFSET", sql) for sql in own)
