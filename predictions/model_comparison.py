"""Compare two models' answers for the same passengers."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from training.log_loss import log_losses

#: With fewer outcomes than this a difference says little.
FEWEST_OUTCOMES = 30
_BINS = np.linspace(-0.5, 0.5, 21)

Numbers = NDArray[np.float64]
Verdicts = NDArray[np.bool_]


class ModelQuality(msgspec.Struct, frozen=True):
    """How well a model's answers match the outcomes."""

    accuracy: float
    log_loss: float
    brier: float


class Histogram(msgspec.Struct, frozen=True):
    """Counts between edges, of which there is one more."""

    edges: list[float]
    counts: list[int]


class ModelComparison(msgspec.Struct, frozen=True):
    """Two models' answers for the same rows; quality is None without outcomes."""

    count: int
    agreed: float
    mean_difference: float
    mean_distance: float
    histogram: Histogram
    outcome_count: int
    logged: ModelQuality | None
    shadow: ModelQuality | None

    @property
    def is_enough(self) -> bool:
        """Whether there are enough outcomes for the quality figures to mean something."""
        return self.outcome_count >= FEWEST_OUTCOMES


def compare(
    *, logged: Numbers, logged_verdicts: Verdicts, shadow: Numbers, shadow_verdicts: Verdicts, outcomes: Numbers
) -> ModelComparison:
    """Compare how far two models agree and how good each was, over n passengers; each argument has shape (n,).

    An unknown outcome is NaN.

    >>> compared = compare(
    ...     logged=np.array([0.9, 0.1]), logged_verdicts=np.array([True, False]),
    ...     shadow=np.array([0.4, 0.1]), shadow_verdicts=np.array([False, False]), outcomes=np.array([1.0, np.nan]))
    >>> compared.count, compared.agreed, round(compared.mean_difference, 2), compared.outcome_count
    (2, 0.5, -0.25, 1)
    >>> compared.shadow.accuracy
    0.0
    """
    count = len(logged)
    differences = shadow - logged
    counts, _ = np.histogram(np.clip(differences, _BINS[0], _BINS[-1]), bins=_BINS)
    known = ~np.isnan(outcomes)
    labels = outcomes[known] > 0
    return ModelComparison(
        count=count,
        agreed=float((logged_verdicts == shadow_verdicts).mean()),
        mean_difference=float(differences.mean()),
        mean_distance=float(np.abs(differences).mean()),
        histogram=Histogram(_BINS.round(3).tolist(), counts.tolist()),
        outcome_count=int(known.sum()),
        logged=quality(labels, logged[known], logged_verdicts[known]),
        shadow=quality(labels, shadow[known], shadow_verdicts[known]),
    )


def quality(labels: Verdicts, probabilities: Numbers, verdicts: Verdicts) -> ModelQuality | None:
    """Measure the quality of n answers, each argument of shape (n,); None for no answers."""
    if not len(labels):
        return None
    return ModelQuality(
        accuracy=float((verdicts == labels).mean()),
        log_loss=float(log_losses(labels, probabilities).mean()),
        brier=float(((probabilities - labels) ** 2).mean()),
    )
