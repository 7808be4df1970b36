"""The pages of the features: what a batch looks like, and how it differs from the one before."""

from collections.abc import Callable

import numpy as np
import pytest
from django.test import Client

from features import services
from features.category_labels import with_category_names
from features.definition import FEATURES
from features.models import FeatureBatch
from features.profile import FeatureProfile
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
    assert "Southampton" not in page
    assert page.count('class="plot"') == len(FEATURES)


def test_a_batch_is_compared_with_the_one_before(batch: FeatureBatch, client: Client) -> None:
    Passenger.objects.of(batch.dataset).update(age=None)
    newer = services.queue_build(dataset=batch.dataset)
    services.build(newer)

    page = client.get(newer.get_absolute_url()).content.decode()

    assert str(batch) in page
    assert "100.0%" in page
    assert "<small>20.1%</small>" in page


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


def test_in_chunks_the_profile_is_the_same(batch: FeatureBatch) -> None:
    matrix = services.matrix(batch)
    labels = np.array(batch.passengers.values_list(LABEL, flat=True), dtype=np.float64)
    profile = FeatureProfile()
    for rows, chunk_labels in zip(np.array_split(matrix, 13), np.array_split(labels, 13), strict=True):
        profile.add(rows, chunk_labels)

    for name, feature in profile.result().items():
        assert batch.profile is not None
        assert feature["correlation"] == pytest.approx(batch.profile[name]["correlation"])
        assert [list(pair) for pair in feature["top"]] == batch.profile[name]["top"]


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


def test_a_nominal_feature_may_have_many_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = {"Sex": {f"code {code}": float(code) for code in range(8)}}
    monkeypatch.setattr("features.profile.CODES", codes)
    monkeypatch.setattr("features.category_labels.CODES", codes)
    matrix = np.zeros((36, len(FEATURES)), dtype=np.float32)
    matrix[:, FEATURES.index("Sex")] = np.repeat(np.arange(8), np.arange(1, 9))
    profile = FeatureProfile()

    profile.add(matrix, None)

    sex = with_category_names("Sex", profile.result()["Sex"])
    assert sex["histogram"] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert frequent(sex).count("code") == 5


def test_a_definition_may_have_no_nominal_feature(batch: FeatureBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.profile.CODES", {})
    monkeypatch.setattr("features.category_labels.CODES", {})
    labels = np.array(batch.passengers.values_list(LABEL, flat=True), dtype=np.float64)
    matrix, profile = services.matrix(batch), FeatureProfile()

    profile.add(matrix, labels)

    sex = profile.result()["Sex"]
    assert with_category_names("Sex", sex) == sex
    assert sex["correlation"] == pytest.approx(np.corrcoef(matrix[:, FEATURES.index("Sex")], labels)[0, 1])
