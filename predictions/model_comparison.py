"""Two models' answers to the same questions, compared."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: With fewer outcomes than this a difference says little.
FEWEST_OUTCOMES = 30
_BINS = np.linspace(-0.5, 0.5, 21)
_CLIP = 1e-15

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class PairedPredictions:
    """Probabilities and verdicts of two models for n passengers, and what happened (NaN for unknown): each (n,)."""

    logged: Numbers
    logged_verdicts: NDArray[np.bool_]
    shadow: Numbers
    shadow_verdicts: NDArray[np.bool_]
    outcomes: Numbers


@dataclass(frozen=True)
class ModelQuality:
    """How right a model was."""

    accuracy: float
    log_loss: float
    brier: float


@dataclass(frozen=True)
class ModelComparison:
    """What the comparison found; without outcomes nobody is right or wrong yet."""

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
        """Whether there are outcomes enough for the figures to say something."""
        return self.outcome_count >= FEWEST_OUTCOMES


def compare(pairs: PairedPredictions) -> ModelComparison:
    """How far two models agree, and which was right more often, over one pair and more.

    >>> yes, no = np.array([True, False]), np.array([False, False])
    >>> found = compare(PairedPredictions(np.array([0.9, 0.1]), yes, np.array([0.4, 0.1]), no, np.array([1.0, np.nan])))
    >>> (found.count, found.agreed, round(found.mean_difference, 2), found.outcome_count, found.shadow.accuracy)
    (2, 0.5, -0.25, 1, 0.0)
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
    """How right n answers were, each argument (n,); None of none."""
    if not len(labels):
        return None
    right = np.clip(np.where(labels, probabilities, 1 - probabilities), _CLIP, 1)
    return ModelQuality(
        accuracy=float((verdicts == labels).mean()),
        log_loss=float(-np.log(right).mean()),
        brier=float(((probabilities - labels) ** 2).mean()),
    )
