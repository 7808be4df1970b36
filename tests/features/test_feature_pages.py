"""The pages of the features: what a batch looks like, and how it differs from the one before."""

from collections.abc import Callable

import numpy as np
import pytest
from django.test import Client

from features import services
from features.definition import FEATURES
from features.models import FeatureBatch
from features.profile import profile_of
from ingestion.models import Dataset, Passenger
from ingestion.passenger import LABEL
from tests.people import CAST, table
from titanic_site.templatetags.profile import frequent
from training.models import ModelVersion


@pytest.fixture
def batch(champion: ModelVersion) -> FeatureBatch:
    return champion.feature_batch


def test_the_current_batch_shows_its_features(batch: FeatureBatch, client: Client) -> None:
    page = client.get("/features/").content.decode()

    assert all(f"<code>{name}</code>" in page for name in FEATURES)
    assert "20.1%" in page
    assert "female" in page
    assert "Southampton" in page
    assert "siblings and spouses + parents and children" in page
    assert page.count('class="plot"') == len(FEATURES)


def test_every_feature_is_drawn_and_correlated_with_every_other(batch: FeatureBatch, client: Client) -> None:
    context = client.get(batch.get_absolute_url()).context

    drawn = {chart.column.name: chart for chart in context["charts"]}
    assert list(drawn) == list(FEATURES)
    assert drawn["Age"].ends == (pytest.approx(0.1667, abs=0.001), 80)
    assert len(drawn["Age"].bars) == 20
    assert {bar.name for bar in drawn["Sex"].bars} == {"Male", "Female"}
    assert all(sum(bar.share for bar in chart.bars) == pytest.approx(1) for chart in drawn.values())
    rows = context["correlations"]
    assert [len(cells) for cells in rows.values()] == [len(FEATURES)] * len(FEATURES)
    matrix = services.matrix(batch).astype(np.float64)
    fare, pclass = matrix[:, FEATURES.index("Fare")], matrix[:, FEATURES.index("Pclass")]
    known = ~np.isnan(fare)
    expected = np.corrcoef(fare[known], pclass[known])[0, 1]
    assert rows["Fare"][FEATURES.index("Pclass")].text == f"{expected:.2f}"


def test_a_batch_is_compared_with_the_one_before(batch: FeatureBatch, client: Client) -> None:
    Passenger.objects.of(batch.dataset).update(age=None)
    newer = services.queue_build(dataset=batch.dataset)
    services.build(newer)

    page = client.get(newer.get_absolute_url()).content.decode()

    assert str(batch) in page
    assert "100.0%" in page
    assert "<small>20.1%</small>" in page


def test_another_batch_is_chosen_as_the_reference(batch: FeatureBatch, client: Client) -> None:
    newer = [services.queue_build(dataset=batch.dataset) for _ in range(2)]
    for each in newer:
        services.build(each)

    address = newer[1].get_absolute_url()
    chosen = client.get(address, {"reference": batch.pk}).context["profile"][0].of
    others = [client.get(address, {"reference": text}) for text in ("", "x", "\0", "9" * 30, "-1", newer[1].pk)]

    assert chosen == batch
    assert {page.context["profile"][0].of for page in others} == {newer[0]}


def test_without_a_profile_there_is_none_to_show(batch: FeatureBatch, client: Client) -> None:
    FeatureBatch.objects.update(profile=None)

    for url in ("/features/", batch.get_absolute_url()):
        page = client.get(url)
        assert page.status_code == 200
        assert 'id="profile"' not in page.content.decode()


def test_the_profile_says_what_numpy_says(batch: FeatureBatch) -> None:
    matrix = services.matrix(batch).astype(np.float64)
    labels = np.array(batch.passengers.values_list(LABEL, flat=True), dtype=np.float64)
    assert batch.profile is not None

    for index, name in enumerate(("Age", "Fare", "Pclass")):
        column, profile = matrix[:, index], batch.profile[name]
        known = ~np.isnan(column)
        assert profile["missing"] == (~known).sum()
        assert profile["quantiles"][0] == column[known].min()
        assert profile["mean"] == pytest.approx(column[known].mean())
        assert profile["correlation"] == pytest.approx(np.corrcoef(column[known], labels[known])[0, 1])
    # Of two codes the correlation ratio is Pearson's r without its sign.
    sex = matrix[:, FEATURES.index("Sex")]
    assert batch.profile["Sex"]["correlation"] == pytest.approx(np.corrcoef(sex, labels)[0, 1])


def test_without_a_label_there_is_no_correlation(load: Callable[..., Dataset], client: Client) -> None:
    dataset = load(table(*CAST), has_label=False)
    batch = services.queue_build(dataset=dataset)

    services.build(batch)

    assert batch.profile is not None
    assert {feature["correlation"] for feature in batch.profile.values()} == {None}
    assert client.get(batch.get_absolute_url()).status_code == 200


def test_where_everybody_had_one_fate_nothing_correlates(load: Callable[..., Dataset]) -> None:
    batch = services.queue_build(dataset=load(table(*CAST)))

    services.build(batch)

    assert batch.profile is not None
    assert {feature["correlation"] for feature in batch.profile.values()} == {None}


def test_the_codes_of_a_nominal_feature_have_names() -> None:
    matrix = np.full((9, len(FEATURES)), np.nan, dtype=np.float32)
    matrix[:8, FEATURES.index("Sex")] = [0, 0, 0, 0, 1, 1, 1, 7]

    sex = profile_of(matrix, None)["Sex"]

    assert (sex["count"], sex["missing"], sex["distinct"]) == (9, 1, 3)
    assert sex["top"] == [("male", 4), ("female", 3), ("7.0", 1)]
    assert sex["histogram"] == [4, 3]
    assert not {"mean", "quantiles"} & sex.keys()


def test_a_nominal_feature_may_have_many_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.profile.CODES", {"Sex": {f"code {code}": float(code) for code in range(8)}})
    matrix = np.zeros((36, len(FEATURES)), dtype=np.float32)
    matrix[:, FEATURES.index("Sex")] = np.repeat(np.arange(8), np.arange(1, 9))

    sex = profile_of(matrix, None)["Sex"]

    assert sex["histogram"] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert frequent(sex).count("code") == 5


def test_a_definition_may_have_no_nominal_feature(batch: FeatureBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.profile.CODES", {})
    labels = np.array(batch.passengers.values_list(LABEL, flat=True), dtype=np.float64)
    matrix = services.matrix(batch)

    sex = profile_of(matrix, labels)["Sex"]

    assert sex["quantiles"] == [0, 0, 0, 1, 1]
    assert sex["correlation"] == pytest.approx(np.corrcoef(matrix[:, FEATURES.index("Sex")], labels)[0, 1])


@pytest.mark.parametrize("codes", [{}, {"Age": {"one": 1.0, "two": 2.0}}])
def test_what_is_constant_or_unknown_has_no_correlation(
    codes: dict[str, dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.profile.CODES", codes)
    labels = np.array([0.0, 0, 1] * 100)
    for age in (0.1, np.nan):
        matrix = np.full((300, len(FEATURES)), age, dtype=np.float32)

        assert profile_of(matrix, labels)["Age"]["correlation"] is None


def test_codes_with_the_same_share_of_the_label_do_not_correlate() -> None:
    matrix = np.zeros((9, len(FEATURES)), dtype=np.float32)
    matrix[:3, FEATURES.index("Sex")] = 1

    sex = profile_of(matrix, np.array([0.0, 0, 1, 0, 0, 1, 0, 0, 1]))["Sex"]

    assert sex["correlation"] == pytest.approx(0)
