"""Compare two models' answers for the same passengers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.log_loss import log_losses

#: With fewer outcomes than this a difference says little.
FEWEST_OUTCOMES = 30
_BINS = np.linspace(-0.5, 0.5, 21)

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class PairedPredictions:
    """Probabilities and verdicts of two models for n passengers, and outcomes (NaN for unknown): each shape (n,)."""

    logged: Numbers
    logged_verdicts: NDArray[np.bool_]
    shadow: Numbers
    shadow_verdicts: NDArray[np.bool_]
    outcomes: Numbers


@dataclass(frozen=True)
class ModelQuality:
    """How well a model's answers match the outcomes."""

    accuracy: float
    log_loss: float
    brier: float


@dataclass(frozen=True)
class ModelComparison:
    """The figures of a comparison; quality is None without outcomes."""

    count: int
    agreed: float
    mean_difference: float
    mean_distance: float
    histogram: dict[str, list[float]]
    outcome_count: int
    logged: ModelQuality | None
    shadow: ModelQuality | None

    @property
    def is_enough(self) -> bool:
        """Whether there are enough outcomes for the quality figures to mean something."""
        return self.outcome_count >= FEWEST_OUTCOMES


def compare(pairs: PairedPredictions) -> ModelComparison:
    """Compare how far two models agree and how good each was, over one pair or more.

    >>> yes, no, outcomes = np.array([True, False]), np.array([False, False]), np.array([1.0, np.nan])
    >>> compared = compare(PairedPredictions(np.array([0.9, 0.1]), yes, np.array([0.4, 0.1]), no, outcomes))
    >>> compared.count, compared.agreed, round(compared.mean_difference, 2), compared.outcome_count
    (2, 0.5, -0.25, 1)
    >>> compared.shadow.accuracy
    0.0
    """
    count = len(pairs.logged)
    differences = pairs.shadow - pairs.logged
    shares, _ = np.histogram(np.clip(differences, _BINS[0], _BINS[-1]), bins=_BINS)
    known = ~np.isnan(pairs.outcomes)
    labels = pairs.outcomes[known] > 0
    return ModelComparison(
        count=count,
        agreed=float((pairs.logged_verdicts == pairs.shadow_verdicts).mean()),
        mean_difference=float(differences.mean()),
        mean_distance=float(np.abs(differences).mean()),
        histogram={"edges": _BINS.round(3).tolist(), "counts": shares.tolist()},
        outcome_count=int(known.sum()),
        logged=quality(labels, pairs.logged[known], pairs.logged_verdicts[known]),
        shadow=quality(labels, pairs.shadow[known], pairs.shadow_verdicts[known]),
    )


def quality(labels: NDArray[np.bool_], probabilities: Numbers, verdicts: NDArray[np.bool_]) -> ModelQuality | None:
    """Measure the quality of n answers, each argument of shape (n,); None for no answers."""
    if not len(labels):
        return None
    return ModelQuality(
        accuracy=float((verdicts == labels).mean()),
        log_loss=float(log_losses(labels, probabilities).mean()),
        brier=float(((probabilities - labels) ** 2).mean()),
    )
