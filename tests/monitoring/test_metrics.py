"""What is counted of requests, queries and predictions; no client makes it grow."""

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from core.jobs import State
from features.definition import DERIVED, FEATURES
from ingestion.models import Dataset
from monitoring import figures, metrics, tasks
from monitoring.process_metrics import ProcessMetrics
from predictions import drift_state
from predictions.drift_state import DriftState
from predictions.models import Channel
from tests.addresses import sample_addresses
from tests.programs import PROMTOOL
from training.models import ModelVersion


def scrape() -> dict[str, float]:
    """The value of each series, collected anew."""
    lines = metrics.exposition().decode().splitlines()
    return {series: float(value) for series, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


@pytest.mark.django_db
def test_a_request_is_counted_and_timed_by_view_method_and_status(client: Client) -> None:
    counted = 'django_http_responses_total_by_status_view_method_total{method="GET",status="%s",view="%s"}'
    timed = 'django_http_requests_latency_seconds_by_view_method_count{method="GET",view="%s"}'
    before = scrape()

    client.get("/healthz")
    client.get("/api/v1/predictions/")
    client.get("/nowhere/")

    after = scrape()
    for status, view in (("2xx", "healthz"), ("4xx", "<rejected>"), ("4xx", "<unnamed view>")):
        for series in (counted % (status, view), timed % view):
            assert after[series] - before.get(series, 0) == 1


@pytest.mark.django_db
def test_all_processes_are_added_up_as_the_library_does_it(client: Client, tmp_path: Path) -> None:
    client.get("/healthz")
    client.get("/readyz")
    for path in settings.METRICS_DIR.glob("*.db"):
        for number in range(3):
            shutil.copy(path, tmp_path / f"{path.stem}{number}.db")

    texts = [
        set(generate_latest(collector).splitlines())
        for collector in (ProcessMetrics(tmp_path), MultiProcessCollector(None, path=str(tmp_path)))
    ]

    assert texts[0] == texts[1]
    assert len(texts[0]) > 100


@pytest.mark.django_db
def test_odd_methods_and_paths_are_one_series_each(client: Client) -> None:
    def ask(number: int) -> None:
        client.generic(f"ODD{number}", "/healthz")
        for path in ("/%d", "/api/v1/%d/", "/v2/%d"):
            client.get(path % number)
        client.get("/models/", headers={"Host": f"{number}.example"})

    ask(0)
    before = scrape().keys()

    for number in range(1, 30):
        ask(number)

    assert scrape().keys() == before


@pytest.mark.ignore_template_errors
@pytest.mark.usefixtures("db", "login_required")
def test_two_thousand_odd_requests_of_anonymous_clients_are_a_few_series(client: Client, settings: Any) -> None:
    settings.THROTTLE_ANON = "300/h"
    client.handler.enforce_csrf_checks = True
    methods = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "SHIP")
    addresses = sorted(set(sample_addresses()))
    before = scrape().keys()

    for method in methods:
        for address in addresses:
            client.generic(method, address)

    assert len(methods) * len(addresses) > 2_000
    grown = scrape().keys() - before
    views = {re.search(r'view="([^"]*)"', series)[1] for series in grown if "view=" in series}
    # The public pages, and two that stand for all that is closed or is not there.
    assert {"<rejected>", "<unnamed view>"} < views
    assert len(views) < 30
    assert len(grown) < 1_500


@pytest.mark.django_db
def test_queries_are_counted_and_timed() -> None:
    labels = '{alias="default",vendor="postgresql"}'
    counted, timed = f"django_db_execute_total{labels}", f"django_db_query_duration_seconds_count{labels}"
    before = scrape()

    with connection.cursor() as cursor:
        for _ in range(1000):
            cursor.execute("SELECT 1")

    after = scrape()
    # A scrape has queries of its own, the same each time and much fewer.
    assert 1000 <= after[counted] - before[counted] < 1100
    assert 1000 <= after[timed] - before[timed] < 1100


def test_a_scrape_reads_no_growing_table(champion: ModelVersion) -> None:
    figures.measure()

    with CaptureQueriesContext(connection) as scraped:
        metrics.exposition()
    with CaptureQueriesContext(connection) as measured:
        figures.measure()

    tables = [re.findall(r'(?:FROM|JOIN) "(\w+)"', query["sql"]) for query in scraped]
    assert tables == [["training_modelversion"], ["predictions_predictioncount"]]
    assert not any(re.search(r"\bpredictions_(prediction|outcome)\b", query["sql"]) for query in measured)


def test_gauges_of_the_tables_are_measured_by_a_worker_or_by_the_scrape_that_finds_none(champion: ModelVersion) -> None:
    without_worker = scrape()
    Dataset.objects.all().update(state=State.FAILED)

    assert scrape()['titanic_jobs{kind="dataset",state="failed"}'] == 0
    tasks.measure_figures()

    assert scrape()['titanic_jobs{kind="dataset",state="failed"}'] == 1
    assert without_worker["titanic_champion_version"] == champion.version
    assert 0.7 < without_worker["titanic_expected_accuracy"] < 1


def test_the_drift_watch_is_shown(champion: ModelVersion) -> None:
    before = scrape()
    drift_state.publish(DriftState("drift", timezone.now(), ("Fare",), champion.version))

    after = scrape()

    assert (
        before['titanic_drift_watch{state="unknown"}'] == before['titanic_drift_watch_feature{feature="Fare"}'] + 1 == 1
    )
    assert [after[f'titanic_drift_watch{{state="{state}"}}'] for state in ("unknown", "calm", "drift")] == [0, 0, 1]
    assert after['titanic_drift_watch_feature{feature="Fare"}'] == 1
    assert time.time() - after["titanic_drift_watch_since_timestamp_seconds"] < 60


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on this machine")
def test_promtool_finds_nothing_to_improve(champion: ModelVersion, client: Client) -> None:
    client.get("/healthz")
    assert PROMTOOL

    checked = subprocess.run(
        [PROMTOOL, "check", "metrics"], check=False, input=metrics.exposition(), capture_output=True
    )

    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_what_may_be_counted_stands_at_0_from_the_start(champion: ModelVersion) -> None:
    series = scrape().keys()

    assert {f'drift_count_total{{feature="{name}"}}' for name in set(FEATURES) - set(DERIVED)} < series
    assert {
        f'prediction_count_total{{model_version="{champion.version}",source="{source}",survived="{survived}"}}'
        for source in Channel.values
        for survived in ("true", "false")
    } < series
