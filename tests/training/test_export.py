"""Golden rows, whatever the number of features."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from features.definition import CODES, FEATURES
from training import estimators, export
from training.artifact import Artifact
from training.estimators import ALGORITHMS


@pytest.mark.parametrize("width", [5, 11, 30])
def test_golden_rows_are_four_real_ones_and_one_for_each_missing_feature(width: int) -> None:
    matrix = np.random.default_rng(0).random((40, width)).astype(np.float32)
    pipeline = HistGradientBoostingClassifier(max_iter=2).fit(matrix, matrix[:, 0] > 0.5)

    golden = export.golden_rows(pipeline, matrix)

    missing = [[place for place, value in enumerate(row.features) if value is None] for row in golden]
    assert missing == [[]] * 4 + [[place] for place in range(width)] + [list(range(width))]
    real = [list(row.features) for row in golden[:4]]
    assert all(row in matrix.tolist() for row in real)
    assert [row.probability for row in golden[:4]] == pipeline.predict_proba(np.array(real))[:, 1].tolist()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_row_has_the_same_answer_alone_and_in_a_batch(algorithm: str) -> None:
    random = np.random.default_rng(0)
    matrix = random.random((300, len(FEATURES))).astype(np.float32)
    for code in CODES:
        matrix[:, FEATURES.index(code)] = random.integers(0, 3, 300)
    # Few trees: what differs with their number is not of interest here.
    parameters = {"n_estimators": 5} if algorithm == "random_forest" else None
    pipeline = estimators.build(algorithm, seed=0, parameters=parameters).fit(matrix, matrix[:, 0] > 0.5)
    artifact = Artifact.load(export.to_graph(pipeline), golden=export.golden_rows(pipeline, matrix))

    together = artifact.score(matrix)

    assert np.array_equal([artifact.score(matrix[[row]])[0] for row in range(300)], together)
    assert artifact.score(matrix[:0]).shape == (0,)
