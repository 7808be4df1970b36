"""Runs: filtered, drawn, started again together; each with its chain, stages, log, inputs and outputs."""

import json
import logging
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django_guid import clear_guid, set_guid
from rest_framework.test import APIClient

from core.jobs import State
from core.jobs.log import MOST_LINES, JobLog
from core.models import JobLogLine
from features import services as feature_services
from features import tasks
from ingestion.models import Dataset
from monitoring import performance
from monitoring.models import Alert, PerformanceCheck, Retraining
from predictions import services as prediction_services
from predictions.scoring import score
from tests.users import make_user
from titanic_site.job_list import kind_of
from titanic_site.logging import Ids
from training import gate
from training import services as training_services
from training.metrics import Check
from training.models import ModelVersion

pytestmark = pytest.mark.django_db


@pytest.fixture
def failed() -> Dataset:
    return Dataset.objects.create(name="bad", uri="/nowhere", state=State.FAILED, error="Put the file there.")


def test_they_are_filtered_on_the_page_and_in_the_api(client: Client, api: APIClient, failed: Dataset) -> None:
    PerformanceCheck.objects.create(state=State.SUCCEEDED)

    def shown(query: str) -> tuple[int, int]:
        page, call = client.get(f"/runs/?{query}"), api.get(f"/api/v1/runs/?{query}")
        return len(page.context["page"].rows), len(call.json()["results"])

    assert shown("") == (2, 2)
    assert shown("kind=dataset") == (1, 1)
    assert shown("state=failed") == (1, 1)
    assert shown("since=2020-01-01") == (2, 2)
    assert shown("until=2020-01-01") == (0, 0)
    assert "No run matches the filter" in client.get("/runs/?state=queued").text


@pytest.mark.parametrize("query", ["kind=user", "state=lost", "since=soon", "until=%00", "kind=%FF%00"])
def test_a_filter_that_cannot_be_read_is_named(client: Client, api: APIClient, failed: Dataset, query: str) -> None:
    page = client.get(f"/runs/?{query}")

    assert page.status_code == 400
    assert list(page.context["filter"].errors) == [query.partition("=")[0]]
    assert not page.context["page"].rows
    call = api.get(f"/api/v1/runs/?{query}")
    assert (call.status_code, call.json()["errors"][0]["attr"]) == (400, query.partition("=")[0])


def test_a_chart_over_time_is_in_the_reader_s_time_zone(client: Client) -> None:
    began = datetime(2026, 11, 30, 20, 15, tzinfo=UTC)
    Dataset.objects.create(
        name="x", uri="x", state=State.SUCCEEDED, started_at=began, finished_at=began + timedelta(seconds=5)
    )
    client.cookies["time_zone"] = "Asia/Tokyo"

    page = client.get("/runs/").text

    (drawn,) = re.findall(r'<script type="application/json">(.*?)</script>', page)
    chart = json.loads(drawn)
    assert chart["x_label"] == "Time (Asia/Tokyo)"
    assert chart["series"][0]["x"] == ["2026-12-01T05:15:00Z"]
    assert "1 Dec 2026, 05:15:00" in page


def test_a_retry_and_what_it_repeats_lead_to_each_other(client: Client, api: APIClient, failed: Dataset) -> None:
    client.post(f"/runs/dataset/{failed.pk}/again/")

    again = Dataset.objects.get(repeats=failed)
    first, second = (client.get(f"/runs/dataset/{job.pk}/").text for job in (failed, again))
    assert f'Repeated by <a href="/runs/dataset/{again.pk}/">' in first
    assert f'Repeats <a href="/runs/dataset/{failed.pk}/">' in second
    assert api.get("/api/v1/runs/?state=queued").json()["results"][0]["repeats"] == failed.pk


def test_chosen_ones_are_started_again_together(client: Client, failed: Dataset) -> None:
    other = Dataset.objects.create(name="x", uri="/x", state=State.CANCELLED)
    is_open = Dataset.objects.create(name="y", uri="/y")

    answer = client.post("/runs/again/", {"run": [job.task_id for job in (failed, other, is_open)]}, follow=True)

    assert "2 runs started again." in answer.text
    assert "This run is not over yet" in answer.text
    assert Dataset.objects.filter(repeats__in=(failed, other), state=State.QUEUED).count() == 2


@pytest.mark.parametrize("chosen", ["", "dataset", "dataset-", "dataset-1x", "dataset-9999999999", "-1", "\x00"])
def test_a_strange_choice_is_refused(client: Client, chosen: str) -> None:
    assert client.post("/runs/again/", {"run": chosen}).status_code == 400
    assert client.post("/runs/again/", {"run": "nothing-1"}).status_code == 404


def test_a_run_keeps_its_log_and_stages(client: Client, champion: ModelVersion) -> None:
    dataset = champion.feature_batch.dataset
    batch = feature_services.queue_build(dataset=dataset)

    feature_services.build(batch)

    page = client.get(f"/runs/{kind_of(batch)}/{batch.pk}/")
    assert [name for name, _at, _length in page.context["stages"]] == ["Derive features", "Verify, profile and publish"]
    assert f"{batch.task_id} started" in page.text
    assert str(dataset) in page.text
    text = client.get(f"/runs/{kind_of(batch)}/{batch.pk}/log.txt").getvalue().decode()
    assert f"INFO {batch.task_id} started" in text


def test_its_lines_have_its_id_and_that_of_the_request_which_queued_it(
    champion: ModelVersion, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.addFilter(Ids())
    set_guid("ab" * 16)
    batch = feature_services.queue_build(dataset=champion.feature_batch.dataset)
    clear_guid()

    # As a recovery sends it again, which has an id of its own.
    tasks.build.apply(kwargs={"batch_id": batch.pk}, task_id=batch.task_id, headers={"X-Request-ID": "cd" * 16})

    records = [vars(record) for record in caplog.records if record.name == "core.jobs.model"]
    ids = {(record["request_id"], record["task_id"], record["job_id"], record["ids"]) for record in records}
    assert len(records) > 2
    assert ids == {("ab" * 16, batch.task_id, batch.task_id, f"{'ab' * 16} {batch.task_id}")}


def test_every_kind_of_run_has_stages(client: Client, champion: ModelVersion) -> None:
    reproduction = training_services.queue_reproduction(version=champion)
    check = performance.queue_check()
    table = SimpleUploadedFile("a.csv", b"Pclass,Sex,Age\n1,female,30\n")
    scoring = prediction_services.queue_scoring(file=table, by=None)

    training_services.reproduce(reproduction)
    performance.check(check)
    score(scoring)

    stages = {
        reproduction: ["Load rows and features", "Search, fit and measure", "Compare with the version"],
        check: ["Measure and estimate", "Store the figures"],
        scoring: ["Split the file", "Score the parts", "Put the results together"],
    }
    for job, names in stages.items():
        page = client.get(f"/runs/{kind_of(job)}/{job.pk}/")
        assert [name for name, _at, _length in page.context["stages"]] == names


def test_a_training_run_has_one_page(client: Client, champion: ModelVersion) -> None:
    run = champion.run
    alert = Alert.objects.create(kind="drift", subject="Fare", message="Drift in Fare.")
    Retraining.objects.create(run=run, alert=alert, kind="drift")

    answer = client.get(f"/runs/train/{run.pk}/", follow=True)

    assert answer.redirect_chain == [(run.get_absolute_url(), 301)]
    assert "Drift in Fare." in answer.text
    assert f'class="button" href="{champion.get_absolute_url()}"' in answer.text


def test_a_failure_stands_in_the_log_among_warnings_too(client: Client) -> None:
    job = Dataset.objects.create(name="x", uri="x")

    with pytest.raises(ZeroDivisionError), job.running():
        logging.getLogger("library").info("<script>a line</script>\0")
        _ = 1 / 0

    page = client.get(f"/runs/dataset/{job.pk}/")
    assert "&lt;script&gt;a line&lt;/script&gt;" in page.text
    warnings = client.get(f"/runs/dataset/{job.pk}/?level=warning")
    assert "ZeroDivisionError" in warnings.text
    assert "a line" not in warnings.text
    logging.getLogger("library").warning("after it")
    assert not JobLogLine.objects.filter(text__contains="after it").exists()


def test_a_log_has_no_more_lines_than_may_be() -> None:
    log = JobLog("dataset-1")
    for number in range(MOST_LINES + 10):
        log.emit(logging.LogRecord("x", logging.INFO, "x", 1, f"line {number}", None, None))

    log.store()
    log.store()

    assert JobLogLine.objects.count() == MOST_LINES
    assert "rest stands in the log files" in JobLogLine.objects.last().text


def test_a_training_says_whether_it_was_promoted_and_why_not(
    client: Client, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Promoted: this model is serving" in client.get(f"/runs/trainingrun/{champion.run_id}/").text
    monkeypatch.setattr(gate, "judge", lambda *_args, **_kwargs: [Check("input schema", False, "one column only")])
    run = training_services.queue_run(batch=champion.feature_batch, seed=7)
    training_services.train(run)

    page = client.get(f"/runs/trainingrun/{run.pk}/").text

    assert "Not promoted" in page
    assert "one column only" in page
    assert [str(name) for name, _at, _length in client.get(f"/runs/trainingrun/{run.pk}/").context["stages"]] == [
        "Load rows and features", "Search, fit and measure", "Export, judge and register",
    ]  # fmt: skip


def test_a_run_of_another_users_file_is_not_there(client: Client, settings: Any) -> None:
    settings.LOGIN_REQUIRED = True

    owner, other = make_user("owner", "analyst"), make_user("other", "analyst")
    job = prediction_services.queue_scoring(file=SimpleUploadedFile("x.csv", b"x"), by=owner)
    client.force_login(other)

    for path in ("", "log.txt"):
        assert client.get(f"/runs/scoringjob/{job.pk}/{path}").status_code == 404
    assert client.get("/runs/nothing/1/").status_code == 404


def test_an_address_with_a_password_is_not_among_the_inputs(client: Client) -> None:
    job = Dataset.objects.create(name="x", uri="postgresql://ann:seacret@db/ship#crew", state=State.FAILED)

    assert "seacret" not in client.get(f"/runs/dataset/{job.pk}/").text
