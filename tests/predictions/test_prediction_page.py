"""A prediction's page: what if, similar rows, other versions; each a part of it and a page without a script."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from features.definition import INPUTS
from predictions import services, time_machine
from predictions.models import Prediction
from tests.people import CAST, ELISABETH, JAMES, OWEN
from training.models import ModelVersion, StageChange

HTMX = {"HX-Request": "true"}


def logged(person: dict[str, Any]) -> str:
    (answer,) = services.predict(services.parse_one(person))
    return f"/predictions/{answer.id}/"


@pytest.mark.parametrize("person", CAST)
def test_each_part_is_a_fragment_and_a_page(client: Client, champion: ModelVersion, person: dict[str, Any]) -> None:
    address = logged(person)
    page = client.get(address).text

    for part in ("why", "what-if", "similar", "versions"):
        assert f'href="{address}{part}/"' in page
        fragment, whole = client.get(f"{address}{part}/", headers=HTMX), client.get(f"{address}{part}/")
        assert (fragment.status_code, whole.status_code) == (200, 200)
        assert "<html" not in fragment.text
        assert "<html" in whole.text


# What if


def test_what_if_as_it_was_is_the_answer(client: Client, champion: ModelVersion) -> None:
    for person in CAST:
        address = logged(person)
        asked = client.get(f"{address}what-if/").context["asked"]
        prediction = client.get(address).context["prediction"]

        assert asked.probability == pytest.approx(prediction.probability, abs=1e-9)
        assert [control.name for control in asked.controls] == list(INPUTS)
        # Where the curve passes the value that it has now, it says the same.
        for control in asked.controls:
            for point in control.points:
                if point.is_current:
                    assert point.probability == pytest.approx(asked.probability)


def test_what_if_answers_what_the_model_would(client: Client, champion: ModelVersion) -> None:
    address = logged(OWEN)

    asked = client.get(f"{address}what-if/", {"age": "4", "title": "Master", "pclass": "1"}).context["asked"]

    changed = {**OWEN, "age": 4, "title": "Master", "name": None, "pclass": 1}
    (answer,) = services.predict(services.parse_one(changed))
    assert asked.probability == pytest.approx(answer.probability)
    assert Prediction.objects.count() == 0


def test_what_a_rule_forbids_is_said_and_not_scored(client: Client, champion: ModelVersion) -> None:
    page = client.get(f"{logged(OWEN)}what-if/", {"sex": "female"})

    assert page.status_code == 400
    assert page.context["asked"].probability is None
    assert "The name says “Mr”, the sex female" in page.text


def test_a_value_may_be_made_unknown(client: Client, champion: ModelVersion) -> None:
    asked = client.get(f"{logged(OWEN)}what-if/", {"age": "40", "unknown": "age"}).context["asked"]

    (answer,) = services.predict(services.parse_one({**OWEN, "age": None}))
    assert asked.probability == pytest.approx(answer.probability)


@pytest.mark.parametrize("text", ["", "nan", "1e999", "-1", "\0", "<b>", "9" * 400])
def test_hostile_values_are_said_to_be_wrong(client: Client, champion: ModelVersion, text: str) -> None:
    page = client.get(f"{logged(JAMES)}what-if/", dict.fromkeys(INPUTS, text))

    assert page.status_code in (200, 400)
    assert "<b>" not in page.text
    assert client.get(f"{logged(JAMES)}what-if/", {"unknown": [text, "pclass"]}).status_code == 400


# Similar rows


def test_the_most_similar_row_is_the_row_itself(client: Client, champion: ModelVersion) -> None:
    row = champion.feature_batch.passengers.filter(is_holdout=False, age__isnull=False).first()
    assert row is not None
    address = logged({name: getattr(row, name) for name in (*ELISABETH, "title")})

    rows = client.get(f"{address}similar/").context["rows"]

    assert len(rows) == 5
    assert rows[0][0].differences == {}
    assert rows[0][0].label == row.survived


def test_an_archived_dataset_has_no_rows_to_compare(client: Client, champion: ModelVersion) -> None:
    address = logged(OWEN)
    champion.feature_batch.passengers.delete()

    assert "are archived" in client.get(f"{address}similar/").text


# Time machine


def test_a_day_has_its_champion(client: Client, champion: ModelVersion) -> None:
    address = logged(OWEN)
    StageChange.objects.update(at=timezone.now() - timedelta(days=3))
    days = [(timezone.now() - timedelta(days=number)).date().isoformat() for number in (0, 3, 5)]

    today, then, before = (client.get(f"{address}versions/", {"on": day}) for day in days)

    for page in (today, then):
        promotion, answer = page.context["then"]
        assert (promotion.version, answer.version) == (champion, champion)
        assert answer.probability == pytest.approx(client.get(address).context["prediction"].probability)
    assert "No model was serving yet on that day" in before.text


@pytest.mark.parametrize("day", ["", "tomorrow", "2999-01-01", "9999-12-31", "\0", "2026-13-01", "0001-01-01"])
def test_a_day_that_is_none_is_named_at_its_field(client: Client, champion: ModelVersion, day: str) -> None:
    page = client.get(f"{logged(OWEN)}versions/", {"on": day})

    assert page.status_code == (200 if day == "0001-01-01" else 400)
    assert ("field__error" in page.text) == (page.status_code == 400)


def test_each_version_says_what_it_answers_and_a_broken_one_why_not(
    client: Client, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = logged(OWEN)
    broken = ModelVersion.objects.get(pk=champion.pk)
    broken.pk, broken.version, broken.stage, broken.sha256 = None, champion.version + 1, "candidate", "0" * 64
    run = champion.run
    run.pk = None
    run.save()
    broken.run = run
    broken.save()

    page = client.get(f"{address}versions/")
    monkeypatch.setattr(time_machine, "MOST_VERSIONS", 1)
    few = client.get(f"{address}versions/")

    for shown in (page, few):
        newest, own = shown.context["answers"]
        assert newest.probability is None
        assert "sha256" in newest.error
        assert own.version == champion
        assert own.probability == pytest.approx(client.get(address).context["prediction"].probability)
    assert re.search(r"Model 1</a>\s*<small>\s*Champion\s*· answered", page.text)
