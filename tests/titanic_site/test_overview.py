"""The overview: how things stand in a sentence, what is in use, what needs attention, and the course of it all."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.jobs import State
from ingestion.models import Dataset
from monitoring import alerts, history
from monitoring.alert_kinds import Kind
from monitoring.models import Alert, AlertRule, LiveFigures
from predictions import drift_state, log
from predictions.drift_state import DriftState
from predictions.models import DeadLetter, Prediction, ScoringJob
from tests.people import ELISABETH
from tests.users import make_user
from titanic_site import schedules
from training.models import ModelVersion, StageChange


def sentence(text: str) -> str:
    """The sentence of a page, without its tags."""
    found = re.search(r'id="sentence">(.*?)</p>', text, re.DOTALL)
    assert found
    return " ".join(re.sub("<[^>]+>", "", found[1]).split())


def test_one_sentence_says_how_things_stand_on_the_overview_and_above_the_form(
    client: Client, champion: ModelVersion
) -> None:
    drift_state.publish(DriftState("drift", timezone.now(), ("Fare",), champion.version))
    AlertRule.objects.create_missing()
    Dataset.objects.create(name="bad", uri="x", state=State.FAILED, error="No such column.")
    # A user's own raises no alert, and counts as it stands in the list.
    ScoringJob.objects.create(name="theirs", upload="x", state=State.FAILED, error="No text.")
    alerts.evaluate_alerts()

    text = sentence(client.get("/overview/").text)

    auc = champion.evaluation.cross_validation.roc_auc.value
    assert text.startswith(f"Model {champion.version} is serving, AUC {auc:.3f}, drift in Fare since ")
    assert "2 failed jobs" in text
    assert sentence(client.get("/").text) == text


def test_a_failed_upload_hides_nothing_that_is_in_use(client: Client, champion: ModelVersion) -> None:
    used = champion.feature_batch.dataset
    bad = Dataset.objects.create(name="bad", uri="x", state=State.FAILED, error="No such column.")

    dataset, *_others = client.get("/overview/").context["stages"]

    assert (dataset.subject, dataset.label, dataset.details) == (str(used), "In use", f"{used.row_count:,} rows")
    assert dataset.attempt == bad


def test_what_failed_has_the_button_that_runs_it_again(client: Client, champion: ModelVersion) -> None:
    bad = Dataset.objects.create(name="bad", uri="x", state=State.FAILED, error="No such column.")
    letter = DeadLetter.objects.create(entry_id="1-1", raw=b"x", error="x", attempts=1)

    page = client.get("/overview/")

    assert {problem.job for problem in page.context["problems"]} >= {bad}
    assert f'action="/runs/dataset/{bad.pk}/again/"' in page.text
    assert 'action="/overview/dead-letters/"' in page.text
    answer = client.post("/overview/dead-letters/", follow=True)
    assert "Rejected again: 1" in answer.text
    letter.refresh_from_db()
    assert letter.attempts == 2


@pytest.mark.django_db
def test_an_empty_installation_explains_itself_at_each_stage(client: Client) -> None:
    page = client.get("/overview/")

    assert "No model is serving yet." in page.text
    assert "This installation is empty" in page.text
    assert all(stage.empty and stage.empty in page.text for stage in page.context["stages"])
    assert 'id="next-step"' in page.text


@pytest.mark.django_db
def test_the_next_runs_are_the_product_s_own_work_not_its_housekeeping(client: Client) -> None:
    schedules.create_missing()

    names = [name for name, _at in client.get("/overview/").context["next_runs"]]

    assert names[:2] == ["Check drift", "Check performance"]
    assert not any("heartbeat" in name for name in names)


def test_who_signs_in_arrives_there_and_who_may_not_read_at_the_form(settings: Any, client: Client, db: None) -> None:
    settings.LOGIN_REQUIRED = True
    user = make_user("ann", role=None)

    assert client.get("/overview/")["Location"] == "/accounts/login/?next=/overview/"
    client.force_login(user)
    assert client.get("/overview/")["Location"] == "/"
    client.force_login(User.objects.create_superuser("root"))
    assert client.get("/overview/").status_code == 200
    assert settings.LOGIN_REDIRECT_URL == "overview"


def test_a_visitor_of_the_form_learns_no_more_than_which_model_serves(
    settings: Any, client: Client, champion: ModelVersion
) -> None:
    settings.LOGIN_REQUIRED = True

    page = client.get("/")

    assert sentence(page.text).startswith(f"Model {champion.version} is serving")
    assert "alert" not in sentence(page.text)
    assert f'href="{champion.get_absolute_url()}"' not in page.text


@pytest.mark.parametrize("chosen", ["", "year", "\x00", "day&range=%FF"])
@pytest.mark.django_db
def test_a_strange_range_is_refused(client: Client, chosen: str) -> None:
    assert client.get("/overview/", {"range": chosen}).status_code == 400


# The course of live traffic


def kept(at: datetime, *, node: str = "a", **figures: Any) -> LiveFigures:
    """A row of counters."""
    counts = {"prediction_count": 0, "positive_count": 0, "request_count": 0, "error_count": 0}
    latency = [0] * len(settings.PROMETHEUS_LATENCY_BUCKETS)
    return LiveFigures.objects.create(node=node, at=at, **{"latency_counts": latency, **counts, **figures})


@pytest.mark.django_db
def test_counters_rise_across_restarts_and_machines() -> None:
    start = datetime.fromisoformat("2026-11-01T12:00Z")
    for node in "ab":
        for minutes, predictions, requests in ((0, 100, 50), (10, 130, 70), (20, 160, 5)):
            latency = [0, requests, *[0] * (len(settings.PROMETHEUS_LATENCY_BUCKETS) - 2)]
            kept(
                start + timedelta(minutes=minutes), node=node, prediction_count=predictions,
                positive_count=predictions // 2, request_count=requests, latency_counts=latency,
            )  # fmt: skip

    first, second = history.steps(since=start + history.STEP, width=history.STEP)

    # Predictions are those of all machines, which each of them writes; requests are each machine's own.
    assert (first.prediction_count, first.positive_count, first.request_count) == (30, 15, 40)
    assert (second.prediction_count, second.request_count) == (30, 10)
    assert first.latency(0.5) == pytest.approx(0.00175)
    (both,) = history.steps(since=start + history.STEP, width=timedelta(hours=2))
    assert both.prediction_count == 60


def test_a_recorded_prediction_is_drawn_and_a_promotion_marked(client: Client, champion: ModelVersion) -> None:
    history.record()
    client.post("/predict", {name: "" if value is None else value for name, value in ELISABETH.items()})
    log.drain()

    history.record()
    history.record()

    assert LiveFigures.objects.count() == 2
    charts = {chart.name: chart for chart in client.get("/overview/").context["charts"]}
    assert sum(charts["predictions"].series[0].y) == 1
    assert charts["positive-share"].series[0].y == [1.0]
    assert [mark.label for mark in charts["predictions"].marks] == [str(champion)]
    assert StageChange.objects.promotions().count() == 1


@pytest.mark.django_db
def test_no_page_of_the_overview_reads_the_prediction_log_but_its_last_row(client: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        client.get("/overview/?range=month")
        history.record()

    of_log = [query["sql"] for query in queries if f'FROM "{Prediction._meta.db_table}"' in query["sql"]]
    assert len(of_log) == 1
    assert of_log[0].endswith('ORDER BY "predictions_prediction"."id" DESC LIMIT 1')


def test_of_a_thousand_alerts_the_first_are_shown_and_where_the_others_are(client: Client, db: None) -> None:
    Alert.objects.bulk_create([Alert(kind=Kind.DRIFT, subject=str(n), message="x") for n in range(1000)])
    for number in range(3):
        Dataset.objects.create(name="bad", uri=str(number), state=State.FAILED, error="No such column.")

    page = client.get("/overview/")

    texts = [problem.text for problem in page.context["problems"]]
    assert texts[-1] == "More alerts are open."
    assert len([text for text in texts if text.endswith(": x")]) == 10
    assert [text for text in texts if "No such column" in text] == [f"{Dataset.objects.first()}: No such column."]
    assert "1,000 open alerts" in page.text or "1000 open alerts" in page.text
