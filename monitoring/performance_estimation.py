"""Figures of live predictions: realised on known outcomes, and estimated without any from the probabilities.

The estimate is NannyML's confidence-based performance estimation (CBPE): a calibrated probability says how often an
answer is right, so the expectation of each figure needs no label.
"""

from collections.abc import Mapping

import numpy as np
from msgspec import structs
from numpy.typing import NDArray
from scipy.stats import norm, rankdata
from sklearn.metrics import roc_auc_score

from monitoring.performance_report import GroupPerformance, PerformanceFigures
from training.evaluation import calibration_error, calibration_error_bounds
from training.log_loss import log_losses
from training.metrics import Estimate
from training.observed_rate import CONFIDENCE, share_interval

#: With fewer outcomes than this only the accuracy has an interval.
FEWEST = 30
_RESAMPLES = 200
_SEED = 42
_QUANTILES = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
_DEVIATIONS = float(norm.ppf(_QUANTILES[1]))

Flags = NDArray[np.bool_]
Probabilities = NDArray[np.float64]


def realised(labels: Flags, probabilities: Probabilities, predicted: Flags) -> PerformanceFigures:
    """Measure n answers by their outcomes, each argument of shape (n,); without any there are no figures.

    Intervals: Wilson's (1927) of the accuracy, DeLong's (1988) of the area under the curve, which needs both labels, a
    bootstrap's (Efron 1979) of the calibration error, and the normal approximation of the others, which are means.
    """
    count = len(labels)
    if not count:
        return PerformanceFigures()
    correct = int((labels == predicted).sum())
    return PerformanceFigures(
        accuracy=Estimate(correct / count, None, *share_interval(correct, of=count)),
        log_loss=_mean(log_losses(labels, probabilities)),
        brier=_mean((probabilities - labels) ** 2),
        roc_auc=_auc(labels, probabilities) if 0 < labels.sum() < count else None,
        ece=_calibration_error(labels, probabilities),
    )


def estimated(probabilities: Probabilities, predicted: Flags) -> PerformanceFigures:
    """Estimate the figures of n answers without their outcomes, each argument of shape (n,).

    An interval says where the realised figure would fall, if the probabilities are calibrated. For the area under the
    curve each row counts as both labels, weighted by their probabilities.

    >>> round(estimated(np.array([0.9, 0.1, 0.8, 0.2]), np.array([True, False, True, False])).accuracy.value, 3)
    0.85
    """
    count = len(probabilities)
    if not count:
        return PerformanceFigures()
    yes, no = np.ones(count, dtype=bool), np.zeros(count, dtype=bool)
    # What a row adds to a mean when its label is true, and when it is false.
    additions: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {
        "accuracy": (predicted.astype(np.float64), 1.0 - predicted),
        "log_loss": (log_losses(yes, probabilities), log_losses(no, probabilities)),
        "brier": ((1 - probabilities) ** 2, probabilities**2),
    }
    figures: dict[str, Estimate] = {}
    for name, (if_true, if_false) in additions.items():
        mean = float((probabilities * if_true + (1 - probabilities) * if_false).mean())
        variances = probabilities * (1 - probabilities) * (if_true - if_false) ** 2
        most = np.inf if name == "log_loss" else 1.0
        figures[name] = _normal(mean, float(np.sqrt(variances.sum())) / count, count=count, most=most)
    if 0 < probabilities.sum() < count:
        labels, weights = np.concatenate([yes, no]), np.concatenate([probabilities, 1 - probabilities])
        figures["roc_auc"] = Estimate(float(roc_auc_score(labels, np.tile(probabilities, 2), sample_weight=weights)))
    return PerformanceFigures(**figures, ece=_calibrated_error(probabilities))


def group(
    name: str, labels: Flags, probabilities: Probabilities, predicted: Flags, *, expected: PerformanceFigures
) -> GroupPerformance:
    """Measure a group of n > 0 answers, each array of shape (n,).

    The calibration error to expect is that of n answers with calibrated probabilities: it depends on n.
    """
    return GroupPerformance(
        name=name,
        count=len(labels),
        observed=float(labels.mean()),
        predicted=float(probabilities.mean()),
        figures=realised(labels, probabilities, predicted),
        expected=structs.replace(expected, ece=_calibrated_error(probabilities)),
    )


def _mean(losses: NDArray[np.float64]) -> Estimate:
    return _normal(
        float(losses.mean()),
        float(losses.std(ddof=1 if len(losses) > 1 else 0) / np.sqrt(len(losses))),
        count=len(losses),
    )


def _calibration_error(labels: Flags, probabilities: Probabilities) -> Estimate:
    error, count = calibration_error(labels, probabilities), len(labels)
    if count < FEWEST:
        return Estimate(error)
    draws = np.random.default_rng(_SEED).multinomial(count, np.full(count, 1 / count), size=_RESAMPLES)
    errors = [calibration_error(labels, probabilities, weights=weights) for weights in draws]
    return Estimate(error, None, *calibration_error_bounds(error, np.array(errors)))


def _calibrated_error(probabilities: Probabilities) -> Estimate:
    """Estimate the calibration error that calibrated probabilities have by chance: labels are drawn with them."""
    drawn = np.random.default_rng(_SEED).random((_RESAMPLES, len(probabilities))) < probabilities
    errors = [calibration_error(labels, probabilities) for labels in drawn]
    return Estimate(float(np.mean(errors)), None, *np.quantile(errors, _QUANTILES).tolist())


def _normal(value: float, error: float, *, count: int, most: float = np.inf) -> Estimate:
    """Return a figure with the interval of the normal approximation, where there are enough rows for one."""
    if count < FEWEST:
        return Estimate(value)
    return Estimate(value, None, max(value - _DEVIATIONS * error, 0.0), min(value + _DEVIATIONS * error, most))


def _auc(labels: Flags, probabilities: Probabilities) -> Estimate:
    """Compute the area under the curve with DeLong's interval, by midranks (Sun and Xu 2014)."""
    positive, negative = probabilities[labels], probabilities[~labels]
    ranks = rankdata(probabilities)
    wins = (ranks[labels] - rankdata(positive)) / len(negative)
    losses = (ranks[~labels] - rankdata(negative)) / len(positive)
    value = float(wins.mean())
    if min(len(positive), len(negative)) < 2:  # noqa: PLR2004  a variance needs two
        return Estimate(value)
    error = np.sqrt(wins.var(ddof=1) / len(positive) + losses.var(ddof=1) / len(negative))
    return _normal(value, float(error), count=len(labels), most=1.0)
