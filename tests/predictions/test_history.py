"""The prediction log: found by time, outcome, probability, id or reference, and downloaded; never counted whole."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from rest_framework.test import APIClient

from core.models import AuditEntry
from predictions import log, outcomes, views
from predictions.models import Prediction, new_id
from tests.people import ELISABETH, JAMES, NOBODY, OWEN
from training.models import ModelVersion


@pytest.fixture
def logged(champion: ModelVersion, api: APIClient) -> dict[str, Prediction]:
    """Four predictions by their reference; two have an outcome: one as predicted, one not."""
    people = {"elisabeth": ELISABETH, "owen": OWEN, "james": JAMES, "nobody": NOBODY}
    for reference, person in people.items():
        api.post("/api/v1/predictions/", {**person, "reference": reference}, format="json")
    log.drain()
    rows = {str(row.reference): row for row in Prediction.objects.all()}
    outcomes.record(rows["elisabeth"].pk, actual=rows["elisabeth"].predicted, by=None)
    outcomes.record(rows["owen"].pk, actual=not rows["owen"].predicted, by=None)
    return rows


def test_pages_and_api_find_the_same(client: Client, api: APIClient, logged: dict[str, Prediction]) -> None:
    def found(**query: object) -> set[str]:
        page = {row.reference for row in client.get("/predictions/", query).context["page"].rows}
        assert page == {row["reference"] for row in api.get("/api/v1/predictions/", query).json()["results"]}
        return page

    everybody = set(logged)
    assert found(outcome="known") == {"elisabeth", "owen"}
    assert found(outcome="unknown") == {"james", "nobody"}
    assert found(outcome="right") == {"elisabeth"}
    assert found(outcome="wrong") == {"owen"}
    middle = sorted(row.probability for row in logged.values())[2]
    above = {name for name, row in logged.items() if row.probability >= middle}
    assert found(probability_from=middle) == above
    assert found(probability_to=middle, probability_from="0") == {
        n for n, r in logged.items() if r.probability <= middle
    }
    assert found(find="owen") == {"owen"}
    assert found(find=str(logged["james"].pk)) == {"james"}
    assert found(find=str(uuid4())) == set()
    today = datetime.now(UTC).date()
    assert found(since=today.isoformat()) == everybody
    assert found(until=today.isoformat()) == set()
    assert found(until=(today + timedelta(days=1)).isoformat(), outcome="known", find="owen") == {"owen"}


@pytest.mark.parametrize(
    ("name", "text"),
    [("outcome", "perhaps"), ("probability_from", "2"), ("probability_to", "nan"), ("probability_to", "1e999"),
     ("find", "\0"), ("find", "x" * 101), ("since", "yesterday"), ("until", "9999-99-99")],
)  # fmt: skip
def test_what_cannot_be_read_is_said_at_its_field(client: Client, api: APIClient, name: str, text: str) -> None:
    page = client.get("/predictions/", {name: text, "format": "csv"})

    assert page.status_code == 200
    assert re.search(rf'id="id_{name}_error">\s*<p class="field__error">', page.text)
    assert api.get("/api/v1/predictions/", {name: text}).status_code == 400


def test_a_moment_stays_in_its_picker(client: Client, db: None) -> None:
    page = client.get("/predictions/?since=2026-11-01T10:00:00%2B02:00&until=2026-11-02").text

    assert 'value="2026-11-01T08:00:00"' in page
    assert 'value="2026-11-02T00:00:00"' in page


def test_what_is_filtered_is_downloaded(client: Client, logged: dict[str, Prediction]) -> None:
    page = client.get("/predictions/?outcome=known&before=" + str(new_id()))
    link = re.search(r'id="export" href="([^"]+)"', page.text.replace("\n", " ").replace("  ", " "))
    address = re.search(r'href="(\?[^"]*format=csv[^"]*)"', page.text)
    assert address, link

    response = client.get("/predictions/" + address[1].replace("&amp;", "&"))
    rows = list(csv.DictReader(io.StringIO(b"".join(response).decode())))

    assert response["Content-Disposition"] == 'attachment; filename="predictions.csv"'
    assert [(row["reference"], row["survived"]) for row in rows] == [
        ("owen", str(not logged["owen"].predicted)),
        ("elisabeth", str(logged["elisabeth"].predicted)),
    ]
    entry = AuditEntry.objects.first()
    assert entry is not None
    assert (entry.action, entry.after) == ("downloaded", {"by": "outcome"})


def test_totals_are_read_where_predictions_are_counted(
    client: Client, logged: dict[str, Prediction], monkeypatch: pytest.MonkeyPatch
) -> None:
    def total(query: str = "") -> str:
        shown = re.search(r'id="total">\s*(.+?)\s*</span>', client.get(f"/predictions/?{query}").text)
        assert shown
        return shown[1]

    assert (total(), total("source=api"), total("outcome=known")) == ("Ever stored: 4", "Ever stored: 4", "Matches: 2")
    Prediction.objects.bulk_create(
        [Prediction(model_version=1, probability=0.25, threshold=0.5, predicted=False, source="api",
                    created_at=datetime.now(UTC), **NOBODY) for _ in range(60)]
    )  # fmt: skip
    assert total("probability_from=0.25&probability_to=0.25") == "Matches: 60"
    monkeypatch.setattr(views, "MOST_COUNTED", 55)
    assert total("probability_from=0.25&probability_to=0.25") == "More than 55 match"


def test_a_formula_in_a_reference_does_not_run(client: Client, api: APIClient, champion: ModelVersion) -> None:
    hostile: dict[str, Any] = {**NOBODY, "reference": "=1+1"}
    api.post("/api/v1/predictions/", hostile, format="json")
    log.drain()

    assert b"'=1+1" in b"".join(client.get("/predictions/?format=csv"))
