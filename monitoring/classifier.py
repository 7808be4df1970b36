"""Compare a window of rows with the reference, all features together: can a forest tell which of both a row is from?

The classifier two-sample test by out-of-bag answers (Lopez-Paz & Oquab 2017; Hediger, Michel & Näf 2022): where nothing
has changed, its AUC is that of forests whose labels were permuted. The same permutations say which features it relies
on more than it would by chance (Altmann et al. 2010), corrected for all of them by the largest (Westfall & Young 1993).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.definition import DERIVED, FEATURES, Matrix

#: The rate of false alarms of a check: one in a hundred days of unchanged data.
FALSE_ALARM_RATE = 0.01
#: More rows of each would make a day's check slow; with these it sees what is worth knowing.
MOST_ROWS = 500
PERMUTATIONS = 199
#: The name of the test of all features.
TOGETHER = "all features"
_FOREST: Mapping[str, object] = {"n_estimators": 50, "max_depth": 6, "min_samples_leaf": 10, "n_jobs": 1}


@dataclass(frozen=True)
class Outcome:
    """The outcome of the test, or how much a feature adds to it: AUC or importance, and by how much it is too high."""

    name: str
    test: str
    statistic: float
    p_value: float
    threshold: float
    effect: float
    drifted: bool


def compare(reference: Matrix, window: Matrix, *, seed: int, permutations: int = PERMUTATIONS) -> list[Outcome]:
    """Compare the window (m, features) with the reference (n, features), NaN for unknown.

    The first outcome is that of all features together; where it is drift, the features after it may be culprits.
    """
    rng = np.random.default_rng(seed)
    names = [name for name in FEATURES if name not in DERIVED]
    places = [FEATURES.index(name) for name in names]
    parts = [part[rng.permutation(len(part))[:MOST_ROWS]][:, places] for part in (reference, window)]
    rows = np.concatenate(parts)
    # To a tree what is unknown is a value of its own, below all others.
    lowest = np.nan_to_num(rows, nan=np.inf).min(axis=0)
    # One that is unknown in every row has no value to be below.
    rows = np.where(np.isnan(rows), np.where(np.isfinite(lowest), lowest, 0) - 1, rows)
    labels = np.repeat([False, True], [len(part) for part in parts])
    auc, importances = _fit(rows, labels, seed)
    by_chance = [_fit(rows, rng.permutation(labels), seed + number) for number in range(1, permutations + 1)]
    aucs, null = np.array([each[0] for each in by_chance]), np.stack([each[1] for each in by_chance])
    mean, spread = null.mean(axis=0), np.maximum(null.std(axis=0), 1e-9)
    largest = ((null - mean) / spread).max(axis=1)
    excess = (importances - mean) / spread
    p_value = (1 + int((aucs >= auc).sum())) / (permutations + 1)
    p_values = (1 + (largest[:, None] >= excess).sum(axis=0)) / (permutations + 1)
    drifted = p_value < FALSE_ALARM_RATE
    features = zip(names, importances.tolist(), mean.tolist(), p_values.tolist(), strict=True)
    return [
        Outcome(TOGETHER, "classifier", auc, p_value, FALSE_ALARM_RATE, max(2 * auc - 1, 0.0), drifted),
        *(
            Outcome(name, "importance", importance, p, FALSE_ALARM_RATE, max(importance - expected, 0.0),
                    drifted and p < FALSE_ALARM_RATE)
            for name, importance, expected, p in features
        ),
    ]  # fmt: skip


def _fit(rows: NDArray[np.float32], labels: NDArray[np.bool_], seed: int) -> tuple[float, NDArray[np.float64]]:
    """Fit a forest to rows (n, k), and return the AUC of its out-of-bag answers and the importances, (k,)."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score

    forest = RandomForestClassifier(oob_score=True, random_state=seed % 2**32, **_FOREST).fit(rows, labels)
    return float(roc_auc_score(labels, forest.oob_decision_function_[:, 1])), forest.feature_importances_
