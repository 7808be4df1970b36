"""The gate: what a candidate must pass before it may be promoted. Arrays and numbers in, named checks out."""

import timeit
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.definition import FEATURES, VERSION, slices
from training.artifact import Artifact
from training.training_data import Examples, Groups, Labels, Probabilities

#: A model whose log loss may be higher by more than this (upper bound of a one-sided interval) is not "no worse".
MARGIN = 0.02
_CONFIDENCE = 0.95
_RESAMPLES = 2000
_SEED = 0
#: A model below this is not promoted, whatever it is compared with.
LEAST_ACCURACY = 0.7
#: Expected calibration error over cross-validation predictions.
MOST_CALIBRATION_ERROR = 0.08
#: How far the mean prediction of a slice may be from what happened there, beyond twice the share's standard error.
MOST_SLICE_GAP = 0.1
#: How much more log loss than the champion's a slice may have, if it is not chance (lower bound above zero).
MOST_SLICE_LOSS = 0.05
_FEWEST_IN_A_SLICE = 15
MOST_MILLISECONDS = 5.0
MOST_BYTES = 16 * 2**20
_CLIP = 1e-15


@dataclass(frozen=True)
class Check:
    """One condition, whether it holds, and the figures that say so."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Contender:
    """A version before the gate: its graph, its answers on the hold-out, its figures."""

    name: str
    artifact: Artifact
    probabilities: Probabilities
    metrics: dict[str, Any]
    byte_count: int


def judge(candidate: Contender, *, holdout: Examples, champion: Contender | None) -> list[Check]:
    """Every check of the candidate; without a champion it has to beat the plain rule alone."""
    metrics = candidate.metrics
    checks = [
        _input_schema(candidate.artifact),
        _inputs(metrics, champion),
        _size(candidate.byte_count),
        _latency(candidate.artifact, holdout.matrix[0]),
        _accuracy(metrics),
        _beats_rule(metrics),
        _calibration(metrics),
    ]
    if champion is not None:
        checks.append(_no_worse(candidate, champion, holdout))
    return [*checks, *_slices(candidate, champion, holdout)]


def mean_difference(differences: NDArray[np.float64], groups: Groups) -> tuple[float, float, float]:
    """Mean of paired differences with the bounds of its one-sided 95 % intervals, lower and upper.

    A bootstrap (Efron 1979) that draws whole groups: families share a fate, so that their rows are no separate proof.

    >>> mean_difference(np.zeros(10), np.arange(10))
    (0.0, 0.0, 0.0)
    """
    _, places = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(places, weights=differences), np.bincount(places)
    drawn = np.random.default_rng(_SEED).integers(len(sums), size=(_RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [1 - _CONFIDENCE, _CONFIDENCE]).tolist()
    return float(differences.mean()), low, high


def losses(labels: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """Log loss of each row, shape (n,)."""
    right = np.where(labels, probabilities, 1 - probabilities)
    return np.asarray(-np.log(np.clip(right, _CLIP, 1)))


def _input_schema(artifact: Artifact) -> Check:
    width = artifact.session.get_inputs()[0].shape[-1]
    detail = f"{width} columns, definition {VERSION} has {len(FEATURES)}"
    return Check("input schema", width == len(FEATURES), detail)


def _inputs(metrics: dict[str, Any], champion: Contender | None) -> Check:
    """A feature that came with one value only when this model learned, and did not when the champion did, is broken."""
    before = champion.metrics.get("inputs", {}) if champion else {}
    dead = [name for name, now in metrics["inputs"].items() if now["values"] <= 1 < before.get(name, now)["values"]]
    return Check("features alive", not dead, f"one value only: {', '.join(dead)}" if dead else "none lost its values")


def _size(byte_count: int) -> Check:
    detail = f"{byte_count / 1024:,.0f} kB, at most {MOST_BYTES / 1024:,.0f} kB"
    return Check("file size", byte_count <= MOST_BYTES, detail)


def _latency(artifact: Artifact, row: NDArray[np.float32]) -> Check:
    # The best of several rounds: what the model needs, not what else the machine does at the moment.
    found = min(timeit.repeat(lambda: artifact.score(row[None]), number=20, repeat=10)) / 20 * 1000
    return Check("latency", found <= MOST_MILLISECONDS, f"{found:.3f} ms for one row, at most {MOST_MILLISECONDS:g} ms")


def _accuracy(metrics: dict[str, Any]) -> Check:
    found = metrics["cross_validation"]["accuracy"]["mean"]
    return Check("minimum accuracy", found >= LEAST_ACCURACY, f"{found:.3f}, at least {LEAST_ACCURACY:g}")


def _beats_rule(metrics: dict[str, Any]) -> Check:
    found, rule = metrics["cross_validation"]["accuracy"]["mean"], metrics["baseline"]["accuracy"]
    return Check("better than the rule", found > rule, f"accuracy {found:.3f} against {rule:.3f}")


def _calibration(metrics: dict[str, Any]) -> Check:
    found = metrics["cross_validation"]["ece"]["mean"]
    detail = f"expected calibration error {found:.3f}, at most {MOST_CALIBRATION_ERROR:g}"
    return Check("calibration", found <= MOST_CALIBRATION_ERROR, detail)


def _no_worse(candidate: Contender, champion: Contender, holdout: Examples) -> Check:
    """Non-inferiority of the log loss on the same rows."""
    ours, theirs = (losses(holdout.labels, one.probabilities) for one in (candidate, champion))
    mean, low, high = mean_difference(ours - theirs, holdout.groups)
    detail = (
        f"log loss {ours.mean():.4f} against {theirs.mean():.4f} of {champion.name}: {mean:+.4f} ({low:+.4f} to"
        f" {high:+.4f}), may not reach {MARGIN:+g}"
    )
    return Check("no worse than the champion", high < MARGIN, detail)


def _slices(candidate: Contender, champion: Contender | None, holdout: Examples) -> Iterator[Check]:
    for name, members in slices(holdout.features).items():
        rows = int(members.sum())
        if rows >= _FEWEST_IN_A_SLICE:
            yield _slice(name, candidate, champion, holdout, members)


def _slice(
    name: str, candidate: Contender, champion: Contender | None, holdout: Examples, members: NDArray[np.bool_]
) -> Check:
    labels, answers = holdout.labels[members], candidate.probabilities[members]
    share, predicted = float(labels.mean()), float(answers.mean())
    allowed = MOST_SLICE_GAP + 2 * float(np.sqrt(share * (1 - share) / len(labels)))
    passed = abs(share - predicted) <= allowed
    detail = f"{len(labels)} rows: predicted {predicted:.2f}, observed {share:.2f}, may differ by {allowed:.2f}"
    if champion is not None:
        differences = losses(labels, answers) - losses(labels, champion.probabilities[members])
        mean, low, _high = mean_difference(differences, holdout.groups[members])
        passed = passed and (mean <= MOST_SLICE_LOSS or low <= 0)
        detail += f"; log loss {mean:+.3f} against {champion.name}"
    return Check(f"slice {name}", passed, detail)
