"""What is counted of requests, queries and predictions; no client makes it grow."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from features.definition import DERIVED, FEATURES
from monitoring import metrics
from predictions.models import Channel
from tests.addresses import sample_addresses
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


def test_what_may_be_counted_stands_at_0_from_the_start(champion: ModelVersion) -> None:
    series = scrape().keys()

    assert {f'drift_count_total{{feature="{name}"}}' for name in set(FEATURES) - set(DERIVED)} < series
    assert {
        f'prediction_count_total{{model_version="{champion.version}",source="{source}",survived="{survived}"}}'
        for source in Channel.values
        for survived in ("true", "false")
    } < series
