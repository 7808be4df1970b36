"""How often the label was true where a model's answer was about this: the interval that is shown with an answer."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

from training.metrics import Points

CONFIDENCE = 0.95


@dataclass(frozen=True)
class ObservedRate:
    """Training rows with about this probability, by models that had not seen them: how many, and the rate's bounds."""

    rows: int
    rate: float
    low: float
    high: float


def near(calibration: Points, probability: float) -> ObservedRate | None:
    """Take the bin of the out-of-fold calibration curve that is nearest to a probability; None without any.

    >>> near(Points([0.1, 0.72], [0.05, 0.8], [60, 10]), 0.7).rows
    10
    """
    bins = list(zip(calibration.x, calibration.y, calibration.count or [], strict=False))
    if not bins:
        return None
    _predicted, rate, rows = min(bins, key=lambda each: abs(each[0] - probability))
    return ObservedRate(rows, rate, *share_interval(round(rate * rows), of=rows))


def share_interval(count: int, *, of: int) -> tuple[float, float]:
    """Compute the bounds of a share (Wilson 1927): right for few rows and for shares near 0 or 1.

    >>> [round(bound, 3) for bound in share_interval(8, of=10)]
    [0.49, 0.943]
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share, spread = count / of, z * z / of
    middle, half = share + spread / 2, z * sqrt(share * (1 - share) / of + spread / (4 * of))
    return (middle - half) / (1 + spread), (middle + half) / (1 + spread)
