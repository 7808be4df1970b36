"""Live performance: realised on outcomes, estimated without them, and stored for pages, API and metrics."""

import io
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from playwright.sync_api import Page
from rest_framework.test import APIClient
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score

from benchmarks.history import FILL
from core.errors import Conflict
from core.jobs import State
from monitoring import performance
from monitoring.models import PerformanceCheck
from monitoring.performance_estimation import FEWEST, estimated, realised
from monitoring.performance_report import PerformanceFigures
from predictions import log, outcomes, scoring, services
from predictions.models import Prediction, ScoringJob
from tests.people import CAST, ELISABETH, NOBODY, OWEN, table
from training.metrics import Estimate
from training.models import ModelVersion


def value(figure: Estimate | None) -> float:
    assert figure is not None
    return figure.value


def bounds(figure: Estimate | None) -> tuple[float, float]:
    assert figure is not None
    assert figure.low is not None
    assert figure.high is not None
    return figure.low, figure.high


def calibrated(count: int) -> tuple[Any, Any, Any]:
    """Labels drawn with the probabilities, these, and verdicts at 0.4."""
    rng = np.random.default_rng(1912)
    probabilities = rng.beta(0.6, 0.9, count)
    return rng.random(count) < probabilities, probabilities, probabilities >= 0.4


# The figures


def test_they_are_scikit_learn_s() -> None:
    labels, probabilities, predicted = calibrated(500)
    # Ties, as a forest makes them.
    probabilities = probabilities.round(2).clip(0.01, 0.99)

    figures = realised(labels, probabilities, predicted)

    assert value(figures.accuracy) == pytest.approx(accuracy_score(labels, predicted))
    assert value(figures.log_loss) == pytest.approx(log_loss(labels, probabilities))
    assert value(figures.brier) == pytest.approx(brier_score_loss(labels, probabilities))
    assert value(figures.roc_auc) == pytest.approx(roc_auc_score(labels, probabilities))


def test_the_intervals_hold_the_truth_nineteen_times_in_twenty() -> None:
    _labels, probabilities, predicted = calibrated(200)
    truth = estimated(probabilities, predicted)
    names = ("accuracy", "log_loss", "brier", "roc_auc")
    held, rng = dict.fromkeys(names, 0), np.random.default_rng(1912)
    for _ in range(200):
        figures = realised(rng.random(200) < probabilities, probabilities, predicted)
        for name in names:
            low, high = bounds(getattr(figures, name))
            held[name] += low <= value(getattr(truth, name)) <= high

    # At 95 % of 200, the binomial's bounds; a little more where the probabilities are fixed.
    assert all(count >= 180 for count in held.values()), held


def test_calibrated_probabilities_tell_the_figures_without_outcomes() -> None:
    labels, probabilities, predicted = calibrated(20_000)

    without, with_outcomes = estimated(probabilities, predicted), realised(labels, probabilities, predicted)

    for name in ("accuracy", "log_loss", "brier"):
        low, high = bounds(getattr(without, name))
        # The interval is for 95 %: half as much again holds 99.7 %.
        margin = (high - low) / 4
        assert low - margin <= value(getattr(with_outcomes, name)) <= high + margin, name
    assert value(without.roc_auc) == pytest.approx(value(with_outcomes.roc_auc), abs=0.01)
    assert value(with_outcomes.ece) < bounds(without.ece)[1] * 1.5


def test_overconfident_probabilities_are_found_out_by_outcomes_alone() -> None:
    labels, probabilities, predicted = calibrated(2_000)
    sharper = np.where(predicted, np.maximum(probabilities, 0.95), np.minimum(probabilities, 0.05))

    without, with_outcomes = estimated(sharper, predicted), realised(labels, sharper, predicted)

    assert value(without.accuracy) > 0.94 > bounds(with_outcomes.accuracy)[1]
    assert value(with_outcomes.ece) > bounds(without.ece)[1]


@pytest.mark.parametrize("count", [1, 2, FEWEST - 1, FEWEST, 60])
@pytest.mark.parametrize("label", [True, False])
def test_of_one_label_alone_there_is_no_curve(count: int, label: bool) -> None:
    probabilities = np.linspace(0.1, 0.9, count)

    figures = realised(np.full(count, label), probabilities, probabilities >= 0.5)

    assert figures.roc_auc is None
    assert bounds(figures.accuracy)[0] <= value(figures.accuracy) <= bounds(figures.accuracy)[1]
    assert figures.log_loss is not None
    assert (figures.log_loss.low is None) == (count < FEWEST)


def test_without_answers_there_are_no_figures() -> None:
    nothing = np.array([]), np.array([], dtype=bool)

    assert estimated(*nothing) == realised(nothing[1], *nothing) == PerformanceFigures()


def test_certain_answers_are_estimated_to_be_right() -> None:
    figures = estimated(np.array([1.0, 0.0, 1.0]), np.array([True, False, True]))

    assert (value(figures.accuracy), value(figures.log_loss)) == (1.0, pytest.approx(0.0))
    assert value(figures.roc_auc) == 1.0


# The check


def predict(*people: dict[str, Any]) -> list[Prediction]:
    answers = services.predict(services.parse_batch(people))
    log.drain()
    return [Prediction.objects.get(pk=answer.id) for answer in answers]


def check() -> PerformanceCheck:
    job = performance.queue_check()
    performance.check(job)
    return job


def test_it_measures_outcomes_in_all_by_slice_and_by_channel(api: APIClient, champion: ModelVersion) -> None:
    rows = predict(
        *[{**OWEN, "age": age} for age in range(20, 50)], *[{**ELISABETH, "age": age} for age in range(10, 40)]
    )
    alone = api.post("/api/v1/predictions/", NOBODY, format="json").json()
    log.drain()
    rows.append(Prediction.objects.get(pk=alone["id"]))
    # One of another model, which is not the champion's.
    Prediction.objects.filter(pk=rows[0].pk).update(model_version=77)
    for number, row in enumerate(rows):
        outcomes.record(row.pk, actual=row.predicted ^ (number % 5 == 1), by=None)
    rest = rows[1:]
    labels = np.array([row.predicted ^ (number % 5 == 1) for number, row in enumerate(rows)][1:])
    probabilities, predicted = (np.array([getattr(row, name) for row in rest]) for name in ("probability", "predicted"))
    women = np.array([row.sex == "female" for row in rest])

    report = check().evaluation

    assert report is not None
    assert report.overall is not None
    assert report.overall.count == 60
    assert value(report.overall.figures.accuracy) == pytest.approx(accuracy_score(labels, predicted))
    assert value(report.overall.figures.log_loss) == pytest.approx(log_loss(labels, probabilities))
    assert value(report.overall.figures.roc_auc) == pytest.approx(roc_auc_score(labels, probabilities))
    assert value(report.overall.expected.accuracy) == champion.evaluation.cross_validation.accuracy.value
    by_slice = {group.name: group for group in report.slices}
    assert by_slice["Sex: female"].count == women.sum() == 31
    assert value(by_slice["Sex: female"].figures.brier) == pytest.approx(
        brier_score_loss(labels[women], probabilities[women])
    )
    assert sum(group.count for name, group in by_slice.items() if name.startswith("Pclass")) == 60
    assert "Age: unknown" in by_slice
    assert {group.name: group.count for group in report.channels} == {"api": 1, "batch": 59}
    assert (report.live.count, report.live.known_count, len(report.live.chunks)) == (60, 60, 1)


def score_file(*people: dict[str, Any]) -> ScoringJob:
    job = services.queue_scoring(file=SimpleUploadedFile("x.csv", table(*people).encode()), by=None)
    scoring.score(job)
    return job


def test_live_predictions_and_files_are_apart_and_in_the_order_of_time(
    champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performance, "_PAGE", 40)
    first = predict(*CAST * 20)
    jobs = [score_file(*CAST * 25), score_file(OWEN)]
    second = predict(*CAST * 20)
    # The results with the label, which the sample's lines have, are a file of outcomes.
    outcomes.record_file(io.BytesIO(b"".join(scoring.results(jobs[0]))), by=None)
    for row in first[:7]:
        outcomes.record(row.pk, actual=row.predicted, by=None)

    report = check().evaluation

    assert report is not None
    live, files = report.live, report.files
    assert (live.count, live.known_count, live.known_share) == (160, 7, 7 / 160)
    assert [chunk.count for chunk in live.chunks] == [53, 53, 54]
    assert [chunk.known_count for chunk in live.chunks] == [7, 0, 0]
    assert value(live.chunks[0].realised.accuracy) == 1
    assert live.chunks[1].realised == PerformanceFigures()
    assert [chunk.start for chunk in live.chunks] == sorted(chunk.start for chunk in live.chunks)
    assert [(chunk.scoring_job, chunk.count, chunk.known_count) for chunk in files.chunks] == [
        (jobs[0].pk, 100, 100), (jobs[1].pk, 1, 0)
    ]  # fmt: skip
    assert value(files.chunks[0].realised.accuracy) == pytest.approx(
        Prediction.objects.filter(scoring_job_id=jobs[0].pk, predicted=True).count() / 100
    )
    probabilities = np.array([row.probability for row in (*first, *second)])
    right = np.where([row.predicted for row in (*first, *second)], probabilities, 1 - probabilities)
    assert value(live.estimated.accuracy) == pytest.approx(right.mean())
    assert report.overall is not None
    assert report.overall.count == 107


def test_without_outcomes_there_is_an_estimate_and_without_predictions_there_is_nothing(
    champion: ModelVersion, client: Client
) -> None:
    assert "has not been checked yet" in client.get("/monitoring/performance/").text
    nothing = check()
    assert (nothing.state, nothing.outcome_count, nothing.accuracy, nothing.known_share) == (
        State.SUCCEEDED, 0, None, None
    )  # fmt: skip
    assert "has answered nothing yet" in client.get("/monitoring/performance/").text

    predict(*CAST)
    few = check()

    assert (few.accuracy, few.known_share) == (None, 0)
    assert few.estimated_accuracy is not None
    page = client.get("/monitoring/performance/").text
    assert "the figures are estimates" in page
    assert "/predictions/outcomes/" in page


def test_pages_api_and_metrics_say_what_the_check_found(
    api: APIClient, client: Client, champion: ModelVersion, django_assert_max_num_queries: Any
) -> None:
    for row in predict(*[{**OWEN, "age": age} for age in range(20, 52)]):
        # All of them survived, against all expectation.
        outcomes.record(row.pk, actual=True, by=None)
    started = api.post("/api/v1/performance-checks/")
    assert (started.status_code, started.json()["state"]) == (202, State.QUEUED)
    assert api.post("/api/v1/performance-checks/").status_code == 409
    assert client.post("/monitoring/performance/check/").status_code == 409
    assert api.get(started["Location"]).json()["report"] is None
    assert client.get(f"/monitoring/performance/{started.json()['id']}/").status_code == 200

    performance.check(PerformanceCheck.objects.get(pk=started.json()["id"]))

    job = PerformanceCheck.objects.get()
    detail, (listed,) = api.get(started["Location"]).json(), api.get("/api/v1/performance-checks/").json()["results"]
    assert detail["report"] == job.figures
    assert "report" not in listed
    assert (listed["accuracy"], listed["outcome_count"], listed["known_share"]) == (job.accuracy, 32, 1.0)
    for address in ("/monitoring/performance/", job.get_absolute_url()):
        with django_assert_max_num_queries(12):
            page = client.get(address)
        assert "Less accurate" in page.text
        assert page.text.count("data-chart") == 1
        assert "0.000" in page.text
    assert f"<dd>{job.estimated_accuracy:.3f}</dd>" in client.get("/monitoring/").text
    cache.clear()
    figures = client.get("/metrics").text
    for line in ("titanic_live_outcomes 32.0", "titanic_live_accuracy 0.0", "titanic_outcomes_known_share 1.0"):
        assert line in figures
    assert f"titanic_estimated_accuracy {job.estimated_accuracy}"[:34] in figures


def test_anonymous_requests_can_be_left_out(api: APIClient, client: Client, champion: ModelVersion) -> None:
    rows = predict(*CAST)
    Prediction.objects.filter(pk=rows[0].pk).update(anonymous=True)
    for row in rows:
        outcomes.record(row.pk, actual=True, by=None)
    whole = check()
    url, body = "/api/v1/performance-checks/", {"without_anonymous": True}
    wrong = [api.post(url, wrong, format="json") for wrong in ({"without_anonymous": "yes"}, {"x": 1}, [], "x")]
    started = api.post(url, body, format="json").json()

    performance.check(PerformanceCheck.objects.get(pk=started["id"]))

    assert [answer.status_code for answer in wrong] == [400] * 4
    job = PerformanceCheck.objects.get(pk=started["id"])
    assert job.evaluation is not None
    assert (whole.outcome_count, job.outcome_count, job.evaluation.live.count) == (4, 3, 3)
    # Metrics, alerts and the page go on with all answers; a check that is repeated leaves out the same.
    assert performance.latest() == whole
    assert job.rerun().without_anonymous
    assert "without anonymous requests" in client.get(job.get_absolute_url()).text
    PerformanceCheck.objects.filter(state=State.QUEUED).delete()
    client.post("/monitoring/performance/check/", {"without_anonymous": ""})
    assert PerformanceCheck.objects.latest().without_anonymous


def test_without_a_champion_there_is_nothing_to_check(client: Client, db: None) -> None:
    with pytest.raises(Conflict, match="no champion"):
        performance.queue_check()

    assert performance.scheduled_check() is None
    assert performance.latest() is None
    assert client.get("/monitoring/").status_code == 200
    assert "train a model first" in client.get("/monitoring/performance/").text


FILL_OUTCOMES = """
INSERT INTO predictions_outcome (prediction_id, actual, recorded_at)
SELECT id, probability > 0.5, now() FROM predictions_prediction
"""


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_a_long_log_is_not_read_through(champion: ModelVersion, count: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(FILL, [count, count])
        cursor.execute(FILL_OUTCOMES)
        cursor.execute("ANALYZE predictions_prediction, predictions_outcome")
        cursor.execute(
            f"EXPLAIN {performance.LATEST_OUTCOMES}", [champion.version, False, UUID(int=0), performance.OUTCOMES]
        )
        plan = [line for (line,) in cursor.fetchall()]
    plan += Prediction.objects.filter(model_version=champion.version).newest(2_000).explain().splitlines()

    answers = performance.latest_live_answers(champion)

    # The other months are empty.
    assert [line for line in plan if "Seq Scan" in line and "cost=0.00..0.00" not in line] == []
    assert len(answers) == performance.PREDICTIONS


def test_a_browser_draws_it_over_time_with_its_bands_in_light_and_dark_on_a_telephone(
    champion: ModelVersion, page: Page
) -> None:
    for row in predict(*CAST * 30)[:90]:
        outcomes.record(row.pk, actual=row.predicted, by=None)
    check()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))

    page.goto("/monitoring/performance/")
    page.wait_for_function("Chart.getChart(document.querySelector('canvas'))")
    labels = page.evaluate("Chart.getChart(document.querySelector('canvas')).data.datasets.map(({ label }) => label)")
    light = page.evaluate("Chart.getChart(document.querySelector('canvas')).data.datasets[0].borderColor")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "light => Chart.getChart(document.querySelector('canvas')).data.datasets[0].borderColor !== light", arg=light
    )
    page.get_by_text("As a table").click()

    # The bands have no name: two edges for each line.
    assert labels == ["Estimated", "Realised", "Expected from training", None, None, None, None]
    assert page.get_by_role("table").first.get_by_role("row").count() == 5
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert problems == []
