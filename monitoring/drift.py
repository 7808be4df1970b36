"""Compare a window of rows with the reference: one test for each feature, one corrected threshold for all.

alibi-detect runs the tests by default; scipy gives the same ones where its licence or its size is in the way.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from features.definition import DERIVED, FEATURES, Matrix

#: The rate of false alarms of a check of unchanged data, over all of its tests together (Bonferroni).
FALSE_ALARM_RATE = 0.05
#: Below this a window has no power, and a check says "not enough yet".
SMALLEST_WINDOW = 50
#: Features with at most this many different values in the reference are tested as categories.
_MOST_CATEGORIES = 12
#: Rarer categories are pooled: chi-square needs about five expected cases in each cell (Cochran 1954).
_SMALLEST_EXPECTED = 5

Values = NDArray[np.float32]
Test = Literal["kolmogorov-smirnov", "chi-square", "missing"]


@dataclass(frozen=True)
class FeatureTest:
    """One test's outcome; `effect` is the KS distance, Cramér's V or the difference in shares, each from 0 to 1."""

    name: str
    test: Test
    statistic: float
    p_value: float
    threshold: float
    effect: float

    @property
    def drifted(self) -> bool:
        return self.p_value < self.threshold


def compare(reference: Matrix, window: Matrix, *, backend: str) -> list[FeatureTest]:
    """Test the window (m, features) against the reference (n, features), NaN for unknown; raises ValueError."""
    if len(window) < SMALLEST_WINDOW:
        raise ValueError(f"a window of {len(window)} rows has no power: at least {SMALLEST_WINDOW} are needed")
    tests: list[tuple[str, Test, tuple[float, float], float]] = []
    for column, name in enumerate(FEATURES):
        if name in DERIVED:
            continue
        before, now = reference[:, column], window[:, column]
        unknown_before, unknown_now = np.isnan(before), np.isnan(now)
        # The backends answer NaN with "no drift": what is missing is counted first, then left out.
        if unknown_before.any() or unknown_now.any():
            table = [[int(part.sum()), int((~part).sum())] for part in (unknown_before, unknown_now)]
            # Half a row more in each cell: the odds ratio stays finite where nothing is missing (Haldane, Anscombe).
            (some, rest), (some_now, rest_now) = np.asarray(table) + 0.5
            outcome = float(some * rest_now / (rest * some_now)), float(stats.fisher_exact(table).pvalue)
            tests.append((name, "missing", outcome, abs(float(unknown_now.mean() - unknown_before.mean()))))
        before, now = before[~unknown_before], now[~unknown_now]
        if not len(before) or not len(now):
            continue
        if len(np.unique(before)) > _MOST_CATEGORIES:
            outcome = two_sample_test("kolmogorov-smirnov", before, now, backend=backend)
            tests.append((name, "kolmogorov-smirnov", outcome, outcome[0]))
            continue
        before, now = _pooled(before, now)
        if len(np.unique(np.concatenate([before, now]))) > 1:
            outcome = two_sample_test("chi-square", before, now, backend=backend)
            # Cramér's V of a table with two rows.
            tests.append((name, "chi-square", outcome, float(np.sqrt(outcome[0] / (len(before) + len(now))))))
    threshold = FALSE_ALARM_RATE / len(tests)
    return [FeatureTest(name, test, *outcome, threshold, effect) for name, test, outcome, effect in tests]


def _pooled(before: Values, now: Values) -> tuple[Values, Values]:
    """Merge the rare categories of both into one: those of which the window would expect fewer than five."""
    both = np.concatenate([before, now])
    categories, counts = np.unique(both, return_counts=True)
    rare = categories[counts * min(len(before), len(now)) / len(both) < _SMALLEST_EXPECTED]
    if len(rare) == 0:
        return before, now
    pool = np.float32(rare[0])
    return np.where(np.isin(before, rare), pool, before), np.where(np.isin(now, rare), pool, now)


def two_sample_test(test: Test, before: Values, now: Values, *, backend: str) -> tuple[float, float]:
    """Return the statistic and the p-value of a test, by alibi-detect or by scipy."""
    if backend == "alibi":
        # Seven seconds and 300 MB: only the worker that checks pays for it.
        from alibi_detect.cd import ChiSquareDrift, KSDrift

        detector = KSDrift if test == "kolmogorov-smirnov" else ChiSquareDrift
        prediction = detector(before[:, None], p_val=FALSE_ALARM_RATE).predict(now[:, None], drift_type="feature")
        return float(prediction["data"]["distance"][0]), float(prediction["data"]["p_val"][0])
    if test == "kolmogorov-smirnov":
        result = stats.ks_2samp(before, now, method="asymp")
    else:
        categories = np.unique(np.concatenate([before, now]))
        result = stats.chi2_contingency(
            [[(part == category).sum() for category in categories] for part in (before, now)]
        )
    return float(result.statistic), float(result.pvalue)
