"""Why the model answered so: exact, additive, the same in every channel, and honest when it cannot be known."""

from itertools import pairwise, permutations
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from django.template.loader import render_to_string
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from redis.exceptions import ConnectionError as Away
from rest_framework.test import APIClient
from sklearn.ensemble import RandomForestClassifier

from core import redis
from features.definition import INPUTS, derive
from ingestion import schema
from ingestion.passenger import IMMUTABLE
from ingestion.schema import FIELD_NAMES, FIELDS
from predictions import explanation, log, services, shapley
from tests.people import CAST, ELISABETH, JAMES, NOBODY, OWEN
from training.models import ModelVersion

URL = "/api/v1/predictions/"


def _rows(people: Any = CAST) -> list[Any]:
    return [tuple(schema.CONTRACT.check(person)[0].values()) for person in people]


@given(st.integers(1, 4).flatmap(lambda n: arrays.arrays(float, (2**n, 2), elements=st.floats(-1, 1))))
def test_shares_are_those_of_the_definition_by_orders(worth: Any) -> None:
    count = len(worth).bit_length() - 1
    orders = list(permutations(range(count)))
    expected = np.zeros((count, 2))
    for order in orders:
        coalition = 0
        for player in order:
            expected[player] += worth[coalition | 1 << player] - worth[coalition]
            coalition |= 1 << player

    np.testing.assert_allclose(shapley.exact(count).values(worth), expected / len(orders), atol=1e-12)


def test_who_changes_nothing_has_no_share_and_equals_share_alike() -> None:
    # The worth is 1 where the first two are both in; the third is nobody.
    for design in (shapley.exact(3), shapley.sampled(3)):
        worth = (design.members[:, 0] & design.members[:, 1]).astype(float)

        assert design.values(worth).tolist() == pytest.approx([0.5, 0.5, 0.0], abs=0.01)


def _forest(count: int) -> tuple[Any, shapley.Columns, shapley.Columns]:
    """A small forest on random data of so many columns, as what it answers; a row; and background rows."""
    random = np.random.default_rng(0)
    data = random.normal(size=(300, count))
    labels = data[:, 0] + data[:, 1] * data[:, 2] + 0.5 * data[:, -1] > 0
    forest = RandomForestClassifier(n_estimators=20, max_depth=6, random_state=0).fit(data, labels)
    names = [f"x{number}" for number in range(count)]

    def score(columns: shapley.Columns) -> Any:
        return forest.predict_proba(np.column_stack([columns[name] for name in names]))[:, 1]

    row, background = np.full(count, 1.5), data[:32]
    return (
        score,
        {name: row[[place]] for place, name in enumerate(names)},
        {name: background[:, place] for place, name in enumerate(names)},
    )


def test_sampled_values_are_close_to_the_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    score, row, background = _forest(8)
    inputs = [[name] for name in row]
    base, exact = shapley.explain(score, inputs, row, background)

    monkeypatch.setattr(shapley, "design", lambda count: shapley.sampled(count, 1_000))
    sampled_base, sampled = shapley.explain(score, inputs, row, background)

    assert shapley.sampled(8, 1_000).method == "sampled"
    assert sampled_base == base
    assert np.abs(exact).max() > 0.1
    np.testing.assert_allclose(sampled, exact, atol=0.015)
    assert sampled.sum() == pytest.approx(exact.sum(), abs=1e-12)


def test_thirty_inputs_are_sampled_within_bounds_and_add_up() -> None:
    score, row, background = _forest(30)
    inputs = [[name] for name in row]
    sizes: list[int] = []

    def counted(columns: shapley.Columns) -> Any:
        sizes.append(len(columns["x0"]))
        return score(columns)

    base, contributions = shapley.explain(counted, inputs, row, background)
    again = shapley.explain(score, inputs, row, background)[1]

    assert [shapley.design(count).method for count in (12, 13, 30)] == ["exact", "sampled", "sampled"]
    assert max(sizes) <= 65_536
    assert sum(sizes) <= (shapley.MAX_COALITIONS + 1) * 32
    assert base == pytest.approx(score(background).mean())
    assert base + contributions.sum() == pytest.approx(score(row)[0], abs=1e-10)
    assert contributions.tolist() == again.tolist()
    # The forest learned from four of the thirty.
    assert {0, 29} <= set(np.argsort(-np.abs(contributions))[:5].tolist())


def test_the_page_says_when_values_are_sampled() -> None:
    for method, word in (("exact", "Exact Shapley values"), ("sampled", "Sampled Shapley values")):
        explained = explanation.Explanation("", 1, 0.5, 0.5, method, [], [])

        assert word in render_to_string(
            "prediction_why.html", {"explanation": explained, "steps": [], "is_short": False}
        )


def test_the_inputs_are_what_the_features_are_derived_from() -> None:
    columns = schema.columns_from_rows(_rows([ELISABETH]))
    read: set[str] = set()

    class Watched(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            read.add(name)
            return super().__getitem__(name)

    derive(Watched(columns))
    assert read == {name for names in INPUTS.values() for name in names}
    assert len(INPUTS) == 9
    assert read <= set(FIELD_NAMES)
    assert set(IMMUTABLE) <= set(INPUTS)


def test_base_and_shares_add_up_to_the_answer(champion: ModelVersion) -> None:
    model = explanation.load_explainer(champion.version)
    rows = _rows(CAST * 3)

    base, shares = model.contributions(rows)

    answers = model.artifact.score(derive(schema.columns_from_rows(rows)))
    np.testing.assert_allclose(base + shares.sum(axis=1), answers, atol=1e-10)
    np.testing.assert_allclose(base, model.artifact.score(derive(schema.columns_from_rows(model.background))).mean())
    assert (np.abs(shares) > 1e-3).any()
    assert model.contributions(rows[:1])[1][0].tolist() == shares[0].tolist()


def test_the_background_is_drawn_from_those_it_learned_from(champion: ModelVersion) -> None:
    learned = champion.feature_batch.passengers.filter(is_holdout=False).values_list(*FIELD_NAMES)

    assert len(champion.background) == 32
    assert {tuple(row) for row in champion.background} <= set(learned)


def test_the_api_tells_why(api: APIClient, champion: ModelVersion) -> None:
    answer = api.post(URL, ELISABETH, format="json").json()

    waiting = api.get(f"{URL}{answer['id']}/explanation/")
    log.drain()
    redis.client().flushall()
    drained = api.get(f"{URL}{answer['id']}/explanation/")

    assert waiting.status_code == 200
    assert waiting.json() == drained.json()
    explained = waiting.json()
    assert explained["method"] == "exact"
    assert explained["probability"] == answer["probability"]
    assert explained["base"] + sum(share["contribution"] for share in explained["contributions"]) == pytest.approx(
        answer["probability"], abs=1e-10
    )
    assert [share["field"] for share in explained["contributions"]] == list(INPUTS)
    assert {other["field"]: other["is_fixed"] for other in explained["what_if"]} == {
        other["field"]: other["field"] in IMMUTABLE for other in explained["what_if"]
    }


def test_what_if_is_what_the_model_really_answers(champion: ModelVersion) -> None:
    answer = services.predict(services.parse_one(OWEN))[0]
    explained = explanation.explain(log.get(UUID(answer.id)))

    classes = {other.value: other.probability for other in explained.what_if if other.field == "pclass"}
    assert set(classes) == {1, 2}
    for value, probability in classes.items():
        assert services.predict(services.parse_one({**OWEN, "pclass": value}))[0].probability == probability
    # Nobody called Mr is a woman: that is no question.
    assert "sex" not in {other.field for other in explained.what_if}


def test_an_explanation_is_remembered(api: APIClient, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = api.post(URL, JAMES, format="json").json()
    first = api.get(f"{URL}{answer['id']}/explanation/")
    monkeypatch.setattr(explanation, "load_explainer", None)

    assert api.get(f"{URL}{answer['id']}/explanation/").content == first.content


def test_without_redis_it_is_made_anew(api: APIClient, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = api.post(URL, NOBODY, format="json").json()
    log.drain()

    def away(*_: Any) -> Any:
        raise Away

    monkeypatch.setattr(redis, "client", away)
    assert api.get(f"{URL}{answer['id']}/explanation/").status_code == 200


def test_what_cannot_be_explained_says_why(api: APIClient, champion: ModelVersion) -> None:
    assert api.get(f"{URL}{uuid4()}/explanation/").status_code == 404
    answer = api.post(URL, OWEN, format="json").json()
    log.drain()
    address = f"{URL}{answer['id']}/explanation/"

    ModelVersion.objects.update(sha256="0" * 64)
    damaged = api.get(address)
    assert damaged.status_code == 409
    assert "sha256" in damaged.json()["errors"][0]["detail"]

    ModelVersion.objects.update(background=[])
    assert api.get(address).status_code == 409
    ModelVersion.objects.update(version=champion.version + 7)
    gone = api.get(address)
    assert gone.status_code == 409
    assert "registry" in gone.json()["errors"][0]["detail"]


def test_a_title_in_the_name_is_a_title_and_not_the_name(api: APIClient, champion: ModelVersion) -> None:
    boy = {**OWEN, "age": 7, "name": "Drew, Master. Marshall Brines"}
    logged = api.post(URL, boy, format="json").json()

    told = api.get(f"{URL}{logged['id']}/explanation/").json()["contributions"]
    page = api.get(f"/predictions/{logged['id']}/why/").content.decode()

    assert [share["value"] for share in told if share["field"] == "title"] == ["Master"]
    assert "Drew" not in page


def test_a_waterfall_leads_from_the_average_to_the_answer(champion: ModelVersion) -> None:
    answer = services.predict(services.parse_one(ELISABETH))[0]
    explained = explanation.explain(log.get(UUID(answer.id)))

    for most, count in ((None, len(INPUTS)), (3, 4)):
        steps = explanation.waterfall(explained, most=most)

        assert len(steps) == count
        assert (steps[0].start, steps[-1].end) == (explained.base, pytest.approx(answer.probability))
        assert all(step.end == following.start for step, following in pairwise(steps))
    assert abs(steps[0].contribution) == pytest.approx(max(abs(each.contribution) for each in explained.contributions))


@pytest.mark.parametrize("person", CAST)
def test_the_page_tells_why(client: Client, champion: ModelVersion, person: dict[str, Any]) -> None:
    answer = services.predict(services.parse_one(person))[0]

    assert f"/predictions/{answer.id}/why/" in client.get(f"/predictions/{answer.id}/").content.decode()
    page = client.get(f"/predictions/{answer.id}/why/")
    fragment = client.get(f"/predictions/{answer.id}/why/", headers={"HX-Request": "true"})

    assert page.status_code == fragment.status_code == 200
    assert "<html" in page.content.decode()
    assert "<html" not in fragment.content.decode()
    for rule in FIELDS[:3]:
        assert str(schema.VERBOSE_NAMES[rule.name]) in fragment.content.decode()
    assert client.get(f"/predictions/{uuid4()}/why/").status_code == 404
