"""How good a model is: figures, curves and slices on rows it was not trained on."""

from collections.abc import Callable, Hashable, Sequence

import msgspec
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
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)  # fmt: skip
from sklearn.pipeline import Pipeline

from features.definition import FEATURES, slices
from training.folds import FOLDS, Split
from training.log_loss import log_losses
from training.metrics import Confusion, CrossValidation, Curves, Figures, Holdout, Importance, Points, Slice
from training.observed_rate import CONFIDENCE, share_interval
from training.training_data import Examples, Groups, Labels, Probabilities

REPEATS = 5
#: Resamples of a bootstrap interval, and the share of them that it holds.
RESAMPLES = 200
BINS = 10
_EDGES = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
_PERMUTATIONS = 3
_MOST_POINTS = 120

#: Repeats of a cross-validation, each with a probability for every row: shape (repeats, n).
OutOfFold = NDArray[np.float64]
#: Makes an unfitted pipeline for the rows that it will be fitted on.
EstimatorFactory = Callable[[Examples], Pipeline]


def figures(
    labels: Labels, probabilities: Probabilities, *, threshold: float, weights: Groups | None = None
) -> Figures[float]:
    """Compute the figures of n predictions, each argument of shape (n,); weights count a row several times."""
    weighted = {"sample_weight": weights}
    return Figures(
        accuracy=float(accuracy_score(labels, probabilities >= threshold, **weighted)),
        roc_auc=float(roc_auc_score(labels, probabilities, **weighted)),
        average_precision=float(average_precision_score(labels, probabilities, **weighted)),
        log_loss=float(np.average(log_losses(labels, probabilities), weights=weights)),
        brier=float(brier_score_loss(labels, probabilities, **weighted)),
        ece=calibration_error(labels, probabilities, weights=weights),
    )


def calibration_error(labels: Labels, probabilities: Probabilities, *, weights: Groups | None = None) -> float:
    """Compute the expected calibration error over ten bins of equal width (Naeini et al., AAAI 2015).

    >>> calibration_error(np.array([True, False, False, False]), np.array([0.25, 0.25, 0.25, 0.25]))
    0.0
    """
    counted = np.ones(len(labels)) if weights is None else weights
    bins = _bins(probabilities)
    gaps = np.bincount(bins, weights=counted * (labels - probabilities), minlength=BINS)
    return float(np.abs(gaps).sum() / counted.sum())


def calibration_error_bounds(error: float, resampled: NDArray[np.float64]) -> tuple[float, float]:
    """Compute the bounds of a calibration error from those of its resamples, shape (n,).

    It is a sum of absolute values, which the noise of a resample makes larger: the bootstrap's estimate of that bias
    (Efron & Tibshirani 1993, 10.2) is subtracted, so that the percentiles lie around the error.

    >>> [round(bound, 3) for bound in calibration_error_bounds(0.038, np.linspace(0.047, 0.108, 101))]
    [0.009, 0.067]
    """
    low, high = np.quantile(resampled, _EDGES) - (resampled.mean() - error)
    return max(float(low), 0.0), float(high)


def cross_validate(make: EstimatorFactory, examples: Examples, splits: Sequence[Sequence[Split]]) -> OutOfFold:
    """Predict each row by a model that has not seen it, once for each repeat: shape (repeats, n)."""

    def predict_test(train: NDArray[np.intp], test: NDArray[np.intp]) -> Probabilities:
        return np.asarray(_fit(make, examples, train).predict_proba(examples.matrix[test])[:, 1])

    out_of_fold = np.empty((len(splits), len(examples.labels)))
    for repeat, folds in enumerate(splits):
        predictions = Parallel()(delayed(predict_test)(*split) for split in folds)
        for (_, test), probabilities in zip(folds, predictions, strict=True):
            out_of_fold[repeat, test] = probabilities
    return out_of_fold


def importance(make: EstimatorFactory, examples: Examples, splits: Sequence[Split], *, seed: int) -> list[Importance]:
    """Measure how much log loss rises when a feature is permuted in the test folds (Breiman 2001), largest first."""

    def permute_test(train: NDArray[np.intp], test: NDArray[np.intp]) -> NDArray[np.float64]:
        result = permutation_importance(
            _fit(make, examples, train), examples.matrix[test], examples.labels[test],
            scoring="neg_log_loss", n_repeats=_PERMUTATIONS, random_state=seed,
        )  # fmt: skip
        return np.asarray(result.importances)

    rises = np.hstack(Parallel()(delayed(permute_test)(*split) for split in splits))
    table = zip(FEATURES, rises.mean(axis=1).tolist(), rises.std(axis=1, ddof=1).tolist(), strict=True)
    return sorted((Importance(*row) for row in table), key=lambda row: -row.mean)


def summary(
    examples: Examples, out_of_fold: OutOfFold, *, threshold: float, intervals_with: int | None = None
) -> CrossValidation:
    """Take the mean of each figure over the repeats, its standard deviation, and its interval.

    `intervals_with` is the seed of the bootstrap; without one there are no intervals.
    """
    repeats = pd.DataFrame([dict(figures(examples.labels, row, threshold=threshold).items()) for row in out_of_fold])
    table = pd.DataFrame({"mean": repeats.mean(), "spread": repeats.std()})
    if intervals_with is not None:
        bounds = intervals(examples.labels, out_of_fold, examples.groups, threshold=threshold, seed=intervals_with)
        table[["low", "high"]] = pd.DataFrame(dict(bounds.items())).T
    counts: dict[Hashable, object] = {"folds": FOLDS, "repeats": len(out_of_fold), "rows": len(examples.labels)}
    return msgspec.convert(counts | table.to_dict("index"), CrossValidation)


def intervals(
    labels: Labels, out_of_fold: OutOfFold, groups: Groups, *, threshold: float, seed: int
) -> Figures[tuple[float, float]]:
    """Bootstrap percentile intervals (Efron 1979) of each figure; whole groups are drawn: their rows are related.

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
        delayed(figures)(labels, out_of_fold[number % len(out_of_fold)], threshold=threshold, weights=weights)
        for number, weights in enumerate(resamples)
    )
    resampled = pd.DataFrame([dict(one.items()) for one in drawn])
    bounds = resampled.quantile(_EDGES)
    error = float(np.mean([calibration_error(labels, row) for row in out_of_fold]))
    bounds["ece"] = calibration_error_bounds(error, resampled["ece"].to_numpy())
    return msgspec.convert(bounds.to_dict("list"), Figures[tuple[float, float]])


def holdout(examples: Examples, probabilities: Probabilities, *, threshold: float, seed: int) -> Holdout:
    """Measure predictions (n,) of the hold-out, with intervals and the confusion matrix."""
    labels = examples.labels
    counts = confusion_matrix(labels, probabilities >= threshold, labels=[False, True]).ravel().tolist()
    return Holdout(
        **dict(figures(labels, probabilities, threshold=threshold).items()),
        rows=len(labels),
        intervals=intervals(labels, probabilities[None], examples.groups, threshold=threshold, seed=seed),
        confusion=Confusion(*counts),
    )


def curves(labels: Labels, probabilities: Probabilities) -> Curves:
    """Draw the ROC, precision-recall and calibration curve of n predictions, each argument (n,)."""
    false_positive, true_positive, _ = roc_curve(labels, probabilities)
    precision, recall, _ = precision_recall_curve(labels, probabilities)
    bins = _bins(probabilities)
    counts = np.bincount(bins, minlength=BINS)
    full = counts > 0
    predicted = np.bincount(bins, weights=probabilities, minlength=BINS)[full] / counts[full]
    observed = np.bincount(bins, weights=labels, minlength=BINS)[full] / counts[full]
    return Curves(
        roc=_points(false_positive, true_positive),
        precision_recall=_points(recall[::-1], precision[::-1]),
        calibration=Points(predicted.tolist(), observed.tolist(), counts[full].tolist()),
    )


def by_slice(examples: Examples, probabilities: Probabilities, *, threshold: float) -> list[Slice]:
    """Measure each slice of the rows that a model should serve alike; empty slices are left out."""
    measured = []
    for name, members in slices(examples.features).items():
        rows = int(members.sum())
        if not rows:
            continue
        labels, predicted = examples.labels[members], probabilities[members]
        correct = int(((predicted >= threshold) == labels).sum())
        low, high = share_interval(correct, of=rows)
        measured.append(
            Slice(
                slice=name,
                rows=rows,
                share=float(labels.mean()),
                predicted=float(predicted.mean()),
                accuracy=correct / rows,
                low=low,
                high=high,
                log_loss=float(log_losses(labels, predicted).mean()),
            )
        )
    return measured


def _fit(make: EstimatorFactory, examples: Examples, rows: NDArray[np.intp]) -> Pipeline:
    train = examples.take(rows)
    return make(train).fit(train.matrix, train.labels)


def _bins(probabilities: Probabilities) -> NDArray[np.intp]:
    return np.minimum((probabilities * BINS).astype(np.intp), BINS - 1)


def _points(x: NDArray[np.float64], y: NDArray[np.float64]) -> Points:
    """Thin a curve to at most `_MOST_POINTS`, the first and the last among them."""
    places = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MOST_POINTS)).round().astype(int))
    return Points(x[places].round(5).tolist(), y[places].round(5).tolist())
