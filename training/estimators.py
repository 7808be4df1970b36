"""The estimators: each one scikit-learn Pipeline in which everything that learns lives."""

from collections.abc import Mapping
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline

from features.definition import FEATURES, NOMINAL

#: Chosen by repeated cross-validation grouped by ticket (benchmarks/forest_parameters.py).
FOREST: Mapping[str, Any] = {"n_estimators": 200, "max_depth": 5, "min_samples_leaf": 2, "max_features": 0.5}
ALGORITHMS: Mapping[str, Mapping[str, Any]] = {"random_forest": FOREST}


def build(algorithm: str, *, seed: int) -> Pipeline:
    """An unfitted pipeline over the feature matrix, (n, 11) with NaN for unknown; raises ValueError by name."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"no algorithm called {algorithm!r}: choose one of {', '.join(ALGORITHMS)}")
    forest = RandomForestClassifier(random_state=seed, n_jobs=1, **ALGORITHMS[algorithm])
    # No scaler: a forest does not see it, and its rounding puts values beside ONNX thresholds (measured: off by 0.008).
    return Pipeline([("impute", _imputer()), ("forest", forest)])


def _imputer() -> ColumnTransformer:
    nominal = [FEATURES.index(name) for name in NOMINAL]
    ordered = [place for place in range(len(FEATURES)) if place not in nominal]
    return ColumnTransformer(
        [
            # A column without a single known value stays, as zeros: the matrix keeps its shape.
            ("median", SimpleImputer(strategy="median", keep_empty_features=True), ordered),
            ("mode", SimpleImputer(strategy="most_frequent", keep_empty_features=True), nominal),
        ]
    )
