"""The gate: what a candidate must pass before it may be promoted. Arrays and numbers in, named checks out."""

import timeit
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.messages import Message, Parameter
from features.definition import FEATURES, VERSION, slices
from training.artifact import Artifact
from training.log_loss import log_losses
from training.metrics import Check, Metrics
from training.training_data import Examples, Groups, Probabilities

#: The log loss may be higher than the champion's by less than this (upper bound of a one-sided interval).
MARGIN = 0.02
_CONFIDENCE = 0.95
_RESAMPLES = 2000
_SEED = 0
#: A model below this is not promoted, whatever it is compared with.
LEAST_ACCURACY = 0.7
#: Expected calibration error over cross-validation predictions.
MOST_CALIBRATION_ERROR = 0.08
#: How far the mean prediction of a slice may be from its observed rate, beyond twice the rate's standard error.
MOST_SLICE_GAP = 0.1
#: How much more log loss than the champion's a slice may have, if it is not chance (lower bound above zero).
MOST_SLICE_LOSS = 0.05
_FEWEST_IN_A_SLICE = 15
MOST_MILLISECONDS = 5.0
MOST_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Contender:
    """A version before the gate: its graph, its probabilities on the hold-out, its metrics."""

    name: Message
    artifact: Artifact
    probabilities: Probabilities
    metrics: Metrics
    byte_count: int


def judge(candidate: Contender, *, holdout: Examples, champion: Contender | None) -> list[Check]:
    """Check the candidate by itself and, where there is a champion, against it."""
    metrics, artifact = candidate.metrics, candidate.artifact
    width = artifact.session.get_inputs()[0].shape[-1]
    # A feature with one value only in this training, but not in the champion's, is broken.
    before = champion.metrics.inputs if champion else {}
    constant = [name for name, now in metrics.inputs.items() if now.values <= 1 < before.get(name, now).values]
    # The best of several rounds, for the machine may be busy with other work.
    seconds = min(timeit.repeat(lambda: artifact.score(holdout.matrix[:1]), number=20, repeat=10)) / 20
    accuracy, ece = metrics.cross_validation.accuracy.value, metrics.cross_validation.ece.value
    checks = [
        Check(
            "input schema",
            width == len(FEATURES),
            Message(
                "%(columns)s columns; feature definition %(definition)s has %(expected)s.",
                {"columns": width, "definition": VERSION, "expected": len(FEATURES)},
            ),
        ),
        Check(
            "features alive",
            not constant,
            Message("These have one value only: %(features)s.", {"features": ", ".join(constant)})
            if constant
            else Message("No feature has become constant."),
        ),
        Check(
            "file size",
            candidate.byte_count <= MOST_BYTES,
            Message(
                "%(size)s kB, at most %(most)s kB.",
                {"size": round(candidate.byte_count / 1024), "most": MOST_BYTES // 1024},
            ),
        ),
        Check(
            "latency",
            seconds * 1000 <= MOST_MILLISECONDS,
            Message(
                "%(milliseconds)s ms for one row, at most %(most)s ms.",
                {"milliseconds": round(seconds * 1000, 3), "most": MOST_MILLISECONDS},
            ),
        ),
        Check(
            "minimum accuracy",
            accuracy >= LEAST_ACCURACY,
            Message("%(accuracy)s, at least %(least)s.", {"accuracy": round(accuracy, 3), "least": LEAST_ACCURACY}),
        ),
    ]
    if metrics.baseline is not None:
        baseline = metrics.baseline.accuracy
        figures = {"accuracy": round(accuracy, 3), "baseline": round(baseline, 3)}
        detail = Message("Accuracy %(accuracy)s, the baseline has %(baseline)s.", figures)
        checks.append(Check("better than the rule", accuracy > baseline, detail))
    detail = Message(
        "Expected calibration error %(error)s, at most %(most)s.",
        {"error": round(ece, 3), "most": MOST_CALIBRATION_ERROR},
    )
    checks.append(Check("calibration", ece <= MOST_CALIBRATION_ERROR, detail))
    if champion is not None:
        checks.append(_no_worse(candidate, champion, holdout))
    return checks + [
        _slice(name, candidate, champion, holdout, members)
        for name, members in slices(holdout.features).items()
        if members.sum() >= _FEWEST_IN_A_SLICE
    ]


def mean_difference(differences: NDArray[np.float64], groups: Groups) -> tuple[float, float, float]:
    """Take the mean of paired differences (n,) with the bounds of its one-sided 95 % intervals, lower and upper.

    A bootstrap (Efron 1979) that draws whole groups, because rows of one group are not independent.

    >>> mean_difference(np.zeros(10), np.arange(10))
    (0.0, 0.0, 0.0)
    """
    _, places = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(places, weights=differences), np.bincount(places)
    drawn = np.random.default_rng(_SEED).integers(len(sums), size=(_RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [1 - _CONFIDENCE, _CONFIDENCE]).tolist()
    return float(differences.mean()), low, high


def _no_worse(candidate: Contender, champion: Contender, holdout: Examples) -> Check:
    """Check that the log loss is not inferior on the same rows."""
    ours, theirs = (log_losses(holdout.labels, one.probabilities) for one in (candidate, champion))
    mean, low, high = mean_difference(ours - theirs, holdout.groups)
    detail = Message(
        "Log loss %(log_loss)s, %(champion)s has %(champion_log_loss)s. Difference %(difference)s (one-sided 95 %%"
        " bounds %(low)s and %(high)s); the upper bound must be below %(margin)s.",
        {
            "log_loss": round(float(ours.mean()), 4),
            "champion": champion.name,
            "champion_log_loss": round(float(theirs.mean()), 4),
            "difference": round(mean, 4),
            "low": round(low, 4),
            "high": round(high, 4),
            "margin": MARGIN,
        },
    )
    return Check("no worse than the champion", high < MARGIN, detail)


def _slice(
    name: str, candidate: Contender, champion: Contender | None, holdout: Examples, members: NDArray[np.bool_]
) -> Check:
    """Check that the mean prediction of a slice is near its observed rate, and its log loss near the champion's."""
    labels, probabilities = holdout.labels[members], candidate.probabilities[members]
    share, predicted = float(labels.mean()), float(probabilities.mean())
    allowed = MOST_SLICE_GAP + 2 * float(np.sqrt(share * (1 - share) / len(labels)))
    passed = abs(share - predicted) <= allowed
    detail = Message(
        "%(rows)s rows: predicted rate %(predicted)s, observed %(observed)s, tolerance %(tolerance)s.",
        {
            "rows": len(labels),
            "predicted": round(predicted, 2),
            "observed": round(share, 2),
            "tolerance": round(allowed, 2),
        },
    )
    if champion is not None:
        differences = log_losses(labels, probabilities) - log_losses(labels, champion.probabilities[members])
        mean, low, _high = mean_difference(differences, holdout.groups[members])
        passed = passed and (mean <= MOST_SLICE_LOSS or low <= 0)
        parameters: dict[str, Parameter] = {"rate": detail, "difference": round(mean, 3), "champion": champion.name}
        detail = Message("%(rate)s Difference in log loss from %(champion)s: %(difference)s.", parameters)
    return Check(f"slice {name}", passed, detail)
