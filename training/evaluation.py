"""How good a model is: figures on rows it has not learned from."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline

from training.examples import Examples, Labels

FOLDS = 5
REPEATS = 5

Probabilities = NDArray[np.float64]


def figures(labels: Labels, probabilities: Probabilities, *, threshold: float) -> dict[str, float]:
    """Accuracy at the threshold, ROC AUC, Brier score and log loss."""
    return {
        "accuracy": float(accuracy_score(labels, probabilities >= threshold)),
        "roc_auc": float(roc_auc_score(labels, probabilities)),
        "brier": float(brier_score_loss(labels, probabilities)),
        "log_loss": float(log_loss(labels, probabilities)),
    }


def cross_validate(
    make: Callable[[], Pipeline], examples: Examples, *, threshold: float, seed: int, report: Callable[[float], None]
) -> dict[str, Any]:
    """Stratified cross-validation, repeated with other folds, no group on both sides: mean and spread of each figure.

    The spread is the standard deviation over the repeats' means, not over folds: folds of one repeat share rows.
    """
    matrix, labels, groups = examples.matrix, examples.labels, examples.groups
    repeats = []
    for repeat in range(REPEATS):
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed + repeat)
        found = []
        for train, test in folds.split(matrix, labels, groups):
            fitted = make().fit(matrix[train], labels[train])
            found.append(figures(labels[test], fitted.predict_proba(matrix[test])[:, 1], threshold=threshold))
            report((repeat + len(found) / FOLDS) / REPEATS)
        repeats.append({name: float(np.mean([fold[name] for fold in found])) for name in found[0]})
    spread = {
        name: {
            "mean": float(np.mean([repeat[name] for repeat in repeats])),
            "spread": float(np.std([repeat[name] for repeat in repeats], ddof=1)),
        }
        for name in repeats[0]
    }
    return {"folds": FOLDS, "repeats": REPEATS, "rows": len(labels), **spread}
