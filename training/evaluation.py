"""How good a model is: figures, curves and groups on rows it has not learned from."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.inspection import permutation_importance
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    log_loss,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)  # fmt: skip
from sklearn.pipeline import Pipeline

from features.definition import FEATURES, slices
from training.folds import Split
from training.training_data import Examples, Groups, Labels, Probabilities

REPEATS = 5
#: Resamples of a bootstrap interval, and the share of them that it holds.
RESAMPLES = 200
CONFIDENCE = 0.95
BINS = 10
_PERMUTATIONS = 3
_MOST_POINTS = 120

#: Repeats of a cross-validation, each with a probability for every row: shape (repeats, n).
OutOfFold = NDArray[np.float64]
#: Makes an unfitted pipeline for the rows that it will learn from.
EstimatorFactory = Callable[[Examples], Pipeline]


def figures(
    labels: Labels, probabilities: Probabilities, *, threshold: float, weights: Groups | None = None
) -> dict[str, float]:
    """Accuracy at the threshold, ROC AUC, average precision, log loss, Brier score, expected calibration error."""
    given = {"sample_weight": weights}
    return {
        "accuracy": float(accuracy_score(labels, probabilities >= threshold, **given)),
        "roc_auc": float(roc_auc_score(labels, probabilities, **given)),
        "average_precision": float(average_precision_score(labels, probabilities, **given)),
        "log_loss": float(log_loss(labels, probabilities, **given)),
        "brier": float(brier_score_loss(labels, probabilities, **given)),
        "ece": calibration_error(labels, probabilities, weights=weights),
    }


def calibration_error(labels: Labels, probabilities: Probabilities, *, weights: Groups | None = None) -> float:
    """Expected calibration error over ten bins of equal width (Naeini et al., AAAI 2015).

    >>> calibration_error(np.array([True, False, False, False]), np.array([0.25, 0.25, 0.25, 0.25]))
    0.0
    """
    counted = np.ones(len(labels)) if weights is None else weights
    bins = _bins(probabilities)
    gaps = np.bincount(bins, weights=counted * (labels - probabilities), minlength=BINS)
    return float(np.abs(gaps).sum() / counted.sum())


def cross_validate(
    make: EstimatorFactory, examples: Examples, splits: Sequence[Sequence[Split]], *, report: Callable[[float], None]
) -> OutOfFold:
    """Each row's probability by a model that has not seen it, once for each repeat: shape (repeats, n)."""
    found = np.empty((len(splits), len(examples.labels)))
    for repeat, folds in enumerate(splits):
        answers = Parallel()(
            delayed(_answers)(make(examples.take(train)), examples, (train, test)) for train, test in folds
        )
        for (_, test), probabilities in zip(folds, answers, strict=True):
            found[repeat, test] = probabilities
        report((repeat + 1) / len(splits))
    return found


def importance(
    make: EstimatorFactory, examples: Examples, splits: Sequence[Split], *, seed: int
) -> list[dict[str, Any]]:
    """How much log loss each feature saves: permuted among rows not learned from (Breiman 2001), most first."""
    work = (delayed(_permute)(make(examples.take(train)), examples, (train, test), seed) for train, test in splits)
    found = np.hstack(Parallel()(work))
    table = pd.DataFrame({"feature": FEATURES, "mean": found.mean(axis=1), "spread": found.std(axis=1, ddof=1)})
    return table.sort_values("mean", ascending=False, kind="stable").to_dict("records")  # type: ignore[return-value]


def summary(
    examples: Examples, found: OutOfFold, *, threshold: float, intervals_with: int | None = None
) -> dict[str, Any]:
    """Mean of each figure over the repeats, its spread (standard deviation of the repeats), and its interval.

    `intervals_with` is the seed of the bootstrap; without one there are no intervals.
    """
    repeats = pd.DataFrame([figures(examples.labels, row, threshold=threshold) for row in found])
    table = pd.DataFrame({"mean": repeats.mean(), "spread": repeats.std()})
    if intervals_with is not None:
        bounds = intervals(examples.labels, found, examples.groups, threshold=threshold, seed=intervals_with)
        table[["low", "high"]] = pd.DataFrame(bounds).T
    return table.to_dict("index")  # type: ignore[return-value]


def intervals(
    labels: Labels, found: OutOfFold, groups: Groups, *, threshold: float, seed: int
) -> dict[str, tuple[float, float]]:
    """Bootstrap percentile intervals (Efron 1979) of each figure; whole groups are drawn, for families share a fate.

    With several repeats each draw takes the next one, so that the intervals hold the spread of the folds too.
    """
    rng = np.random.default_rng(seed)
    _, places = np.unique(groups, return_inverse=True)
    count = places.max() + 1
    resamples: list[Groups] = []
    while len(resamples) < RESAMPLES:
        weights = np.bincount(rng.integers(count, size=count), minlength=count)[places]
        if len(set(labels[weights > 0].tolist())) > 1:
            resamples.append(weights)
    drawn = Parallel(batch_size=RESAMPLES // 10)(
        delayed(figures)(labels, found[number % len(found)], threshold=threshold, weights=weights)
        for number, weights in enumerate(resamples)
    )
    edges = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
    return {name: (low, high) for name, low, high in pd.DataFrame(drawn).quantile(edges).T.itertuples()}


def confusion(labels: Labels, probabilities: Probabilities, *, threshold: float) -> dict[str, int]:
    """The four counts at the threshold."""
    counts = confusion_matrix(labels, probabilities >= threshold, labels=[False, True]).ravel().tolist()
    return dict(zip(("true_negative", "false_positive", "false_negative", "true_positive"), counts, strict=True))


def curves(labels: Labels, probabilities: Probabilities) -> dict[str, Any]:
    """ROC, precision-recall and calibration curve as points."""
    false_positive, true_positive, _ = roc_curve(labels, probabilities)
    precision, recall, _ = precision_recall_curve(labels, probabilities)
    bins = _bins(probabilities)
    counts = np.bincount(bins, minlength=BINS)
    full = counts > 0
    predicted = np.bincount(bins, weights=probabilities, minlength=BINS)[full] / counts[full]
    observed = np.bincount(bins, weights=labels, minlength=BINS)[full] / counts[full]
    return {
        "roc": _points(false_positive, true_positive),
        "precision_recall": _points(recall[::-1], precision[::-1]),
        "calibration": {"x": predicted.tolist(), "y": observed.tolist(), "count": counts[full].tolist()},
    }


def by_slice(examples: Examples, probabilities: Probabilities, *, threshold: float) -> list[dict[str, Any]]:
    """Figures of each group of passengers that a model should serve alike; groups of nobody are left out."""
    found = []
    for name, members in slices(examples.features).items():
        rows = int(members.sum())
        if not rows:
            continue
        labels, answers = examples.labels[members], probabilities[members]
        accuracy = float(accuracy_score(labels, answers >= threshold))
        low, high = _wilson(accuracy, rows)
        found.append(
            {
                "slice": name,
                "rows": rows,
                "share": float(labels.mean()),
                "predicted": float(answers.mean()),
                "accuracy": accuracy,
                "low": low,
                "high": high,
                "log_loss": float(log_loss(labels, answers, labels=[False, True])),
            }
        )
    return found


def _answers(pipeline: Pipeline, examples: Examples, split: Split) -> Probabilities:
    train, test = split
    pipeline.fit(examples.matrix[train], examples.labels[train])
    return np.asarray(pipeline.predict_proba(examples.matrix[test])[:, 1])


def _permute(pipeline: Pipeline, examples: Examples, split: Split, seed: int) -> NDArray[np.float64]:
    train, test = split
    pipeline.fit(examples.matrix[train], examples.labels[train])
    found = permutation_importance(
        pipeline, examples.matrix[test], examples.labels[test],
        scoring="neg_log_loss", n_repeats=_PERMUTATIONS, random_state=seed,
    )  # fmt: skip
    return np.asarray(found.importances)


def _bins(probabilities: Probabilities) -> NDArray[np.intp]:
    return np.minimum((probabilities * BINS).astype(np.intp), BINS - 1)


def _points(x: NDArray[np.float64], y: NDArray[np.float64]) -> dict[str, list[float]]:
    """At most so many points, the first and the last among them."""
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MOST_POINTS)).round().astype(int))
    return {"x": x[kept].round(5).tolist(), "y": y[kept].round(5).tolist()}


def _wilson(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927).

    >>> [round(bound, 3) for bound in _wilson(0.5, 100)]
    [0.404, 0.596]
    """
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * float(np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)))
    return middle - half, middle + half
