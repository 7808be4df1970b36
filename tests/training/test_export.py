"""Golden rows, whatever the number of features."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from training import export


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
