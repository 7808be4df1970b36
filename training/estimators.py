"""The estimators: each a scikit-learn Pipeline that holds all that is fitted, imputation and scaling too."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scipy.stats import loguniform, randint, uniform
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from features.definition import CODES, FEATURES
from training.metrics import Parameters


@dataclass(frozen=True)
class AlgorithmSpec:
    """How to build a pipeline, its parameters without a search, and the space to search."""

    make: Callable[..., Pipeline]
    defaults: Parameters
    space: Mapping[str, object]
    #: What a halving search gives more of to the fewer candidates of a later round, from the least to the most.
    resource: str
    min_resources: int
    max_resources: int
    #: Models that fit a likelihood are calibrated by it; a forest's shares of votes may not be.
    may_need_calibration: bool = False


def build(algorithm: str, *, seed: int, parameters: Parameters | None = None) -> Pipeline:
    """Build an unfitted pipeline for features of shape (n, features), NaN for unknown."""
    spec = ALGORITHMS[algorithm]
    return spec.make(random_state=seed, **(spec.defaults if parameters is None else parameters))


def _forest(**parameters: Any) -> Pipeline:
    # No scaler: a forest does not see it, and its rounding puts values beside ONNX thresholds (measured: off by 0.008).
    forest = RandomForestClassifier(n_jobs=1, **parameters)
    return _pipeline(forest, numbers=_imputer("median"), codes=_imputer("most_frequent"))


def _logistic(**parameters: Any) -> Pipeline:
    numbers = make_pipeline(_imputer("median"), StandardScaler())
    codes = make_pipeline(_imputer("most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    return _pipeline(LogisticRegression(**parameters), numbers=numbers, codes=codes)


def _pipeline(model: BaseEstimator, *, numbers: BaseEstimator, codes: BaseEstimator) -> Pipeline:
    code_columns = [FEATURES.index(name) for name in CODES]
    number_columns = [column for column in range(len(FEATURES)) if column not in code_columns]
    prepare = ColumnTransformer([("ordered", numbers, number_columns), ("nominal", codes, code_columns)])
    return Pipeline([("prepare", prepare), ("model", model)])


def _imputer(strategy: str) -> SimpleImputer:
    # A column without a single known value stays, as zeros: the matrix keeps its shape.
    return SimpleImputer(strategy=strategy, keep_empty_features=True)


#: Defaults and spaces were chosen by repeated cross-validation in groups:
#: docs/decisions/0007-search-gate-and-training.md.
ALGORITHMS: Mapping[str, AlgorithmSpec] = {
    "random_forest": AlgorithmSpec(
        make=_forest,
        defaults={"n_estimators": 100, "max_depth": 5, "min_samples_leaf": 2, "max_features": 0.5},
        space={"max_depth": randint(3, 13), "min_samples_leaf": randint(1, 13), "max_features": uniform(0.2, 0.6)},
        resource="n_estimators",
        min_resources=11,
        max_resources=100,
        may_need_calibration=True,
    ),
    "gradient_boosting": AlgorithmSpec(
        # No imputer: its trees learn on which side missing values belong.
        make=lambda **parameters: Pipeline(
            [("model", HistGradientBoostingClassifier(early_stopping=False, **parameters))]
        ),
        defaults={"max_iter": 150, "learning_rate": 0.03, "max_leaf_nodes": 6, "l2_regularization": 5.0},
        space={
            "learning_rate": loguniform(0.01, 0.1),
            "max_leaf_nodes": randint(3, 17),
            "min_samples_leaf": randint(10, 41),
            "l2_regularization": loguniform(0.1, 20),
        },
        resource="max_iter",
        min_resources=30,
        max_resources=270,
    ),
    "logistic_regression": AlgorithmSpec(
        make=_logistic,
        defaults={"C": 0.3, "max_iter": 1000},
        space={"C": loguniform(0.003, 30)},
        resource="max_iter",
        min_resources=111,
        max_resources=1000,
    ),
}
