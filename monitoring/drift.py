"""Compare a window of rows with the reference: one test for each feature, one corrected threshold for all.

alibi-detect runs the tests by default; scipy gives the same ones where its licence or its size is in the way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from features.definition import CODES, DERIVED, FEATURES, Matrix

#: The rate of false alarms of a check of unchanged data, over all of its tests together (Bonferroni).
FALSE_ALARM_RATE = 0.05
#: Below this a window has no power, and a check says "not enough yet".
SMALLEST_WINDOW = 50
#: Features with at most this many different values in the reference are tested as categories.
MOST_CATEGORIES = 12
#: The model's output, tested as one more column.
OUTPUT = "predicted probability"
#: The bins of a number's histogram, and the shares of both samples that its outer bins may have beyond their edges.
BINS, _TAIL = 20, 0.01
# Rarer categories are pooled: chi-square needs about five expected cases in each cell (Cochran 1954).
_SMALLEST_EXPECTED = 5
# The population stability index is computed over the reference's tenths.
_TENTHS = np.linspace(0, 1, 11)[1:-1]
# Exact, the Wasserstein distance costs as much as the test; the difference of so many quantiles is as good.
_QUANTILES = (np.arange(1_000) + 0.5) / 1_000

Values = NDArray[np.float32]
Probabilities = NDArray[np.float64]
Counts = NDArray[np.int64]
#: Each value, and how often it occurs.
Tally = dict[float, int]
Test = Literal["kolmogorov-smirnov", "chi-square", "missing"]


class Distribution(msgspec.Struct, frozen=True):
    """The counts of both samples in bins that they share, and how far apart the samples are."""

    #: The bins' limits, for numbers; what lies beyond them is counted in the outer bins.
    edges: list[float]
    #: The bins' names, for categories; the empty one is of values that the reference does not have.
    categories: list[str]
    reference: list[int]
    window: list[int]
    #: Population stability index.
    psi: float
    #: Wasserstein distance in the feature's own unit, for numbers.
    wasserstein: float | None = None


class Quality(msgspec.Struct, frozen=True):
    """Shares of a window's rows, for one feature: unknown, and outside of what the reference has."""

    name: str
    missing: float
    missing_in_reference: float
    #: Categories that the reference does not have; numbers below its least and above its largest.
    unseen: float
    below: float
    above: float


@dataclass(frozen=True)
class FeatureTest:
    """One test's outcome; `effect` is the KS distance, Cramér's V or the difference in shares, each from 0 to 1."""

    name: str
    test: Test
    statistic: float
    p_value: float
    threshold: float
    effect: float
    distribution: Distribution

    @property
    def drifted(self) -> bool:
        return self.p_value < self.threshold


def compare(
    reference: Matrix, window: Matrix, *, outputs: tuple[Probabilities, Probabilities] | None = None, backend: str
) -> list[FeatureTest]:
    """Test the window (m, features) against the reference (n, features), NaN for unknown; raises ValueError.

    `outputs` are the model's probabilities, (n,) and (m,): the reference's by models that had not seen the row.
    """
    if len(window) < SMALLEST_WINDOW:
        raise ValueError(f"a window of {len(window)} rows has no power: at least {SMALLEST_WINDOW} are needed")
    tests: list[tuple[str, Test, tuple[float, float], float, Distribution]] = []
    for name, values, values_now in _columns(reference, window, outputs):
        unknown, unknown_now = np.isnan(values), np.isnan(values_now)
        # The backends answer NaN with "no drift": what is missing is counted first, then left out.
        if unknown.any() or unknown_now.any():
            tests.append((name, *_test_missing(unknown, unknown_now)))
        before, now = values[~unknown], values_now[~unknown_now]
        if not len(before) or not len(now):
            continue
        categories = _categories(before)
        if categories is None:
            before, now = np.sort(before), np.sort(now)
            outcome = two_sample_test(before, now, backend=backend)
            tests.append((name, "kolmogorov-smirnov", outcome, outcome[0], _of_numbers(before, now)))
            continue
        distribution = _of_categories(name, categories, now)
        before, now, pooled = _pooled(categories, before, now)
        if len(pooled) > 1:
            outcome = two_sample_test(before, now, categories=pooled, backend=backend)
            # Cramér's V of a table with two rows.
            effect = float(np.sqrt(outcome[0] / (len(before) + len(now))))
            tests.append((name, "chi-square", outcome, effect, distribution))
    threshold = FALSE_ALARM_RATE / max(len(tests), 1)
    return [
        FeatureTest(name, test, *outcome, threshold, effect, distribution)
        for name, test, outcome, effect, distribution in tests
    ]


def two_sample_test(
    before: Values, now: Values, *, categories: Sequence[float] = (), backend: str
) -> tuple[float, float]:
    """Return the statistic and p-value of chi-square over the categories of both, or without any of the KS test."""
    if backend == "alibi":
        # Seven seconds and 300 MB: only the worker that checks pays for it.
        from alibi_detect.cd import ChiSquareDrift, KSDrift

        if categories:
            detector = ChiSquareDrift(before[:, None], categories_per_feature={0: [*categories]})
        else:
            detector = KSDrift(before[:, None])
        prediction = detector.predict(now[:, None], drift_type="feature")
        return float(prediction["data"]["distance"][0]), float(prediction["data"]["p_val"][0])
    if categories:
        table = [[(part == category).sum() for category in categories] for part in (before, now)]
        result = stats.chi2_contingency(table)
    else:
        result = stats.ks_2samp(before, now, method="asymp")
    return float(result.statistic), float(result.pvalue)


def assess_quality(reference: Matrix, window: Matrix) -> list[Quality]:
    """Compute what is missing and unseen in a window (m, features) that has rows, m > 0."""
    qualities = []
    for name, before, now in _columns(reference, window):
        unknown_before, unknown_now = np.isnan(before), np.isnan(now)
        known = before[~unknown_before]
        categories = _categories(known)
        unseen = below = above = 0.0
        if categories is not None:
            unseen = float((~unknown_now & ~np.isin(now, [*categories])).mean())
        else:
            # A comparison with NaN is false.
            below, above = float((now < known.min()).mean()), float((now > known.max()).mean())
        shares = float(unknown_now.mean()), float(unknown_before.mean())
        qualities.append(Quality(name, *shares, unseen, below, above))
    return qualities


def _columns(
    reference: Matrix, window: Matrix, outputs: tuple[Probabilities, Probabilities] | None = None
) -> Iterator[tuple[str, Values, Values]]:
    """Yield the name and both samples, (n,) and (m,), of all that is tested: what is derived says nothing new."""
    for place, name in enumerate(FEATURES):
        if name not in DERIVED:
            yield name, np.ascontiguousarray(reference[:, place]), np.ascontiguousarray(window[:, place])
    if outputs is not None:
        yield OUTPUT, outputs[0].astype(np.float32), outputs[1].astype(np.float32)


def _categories(values: Values) -> Tally | None:
    """Count the different values of a sample (n,) where they are few, in their order; None where they are many."""
    # Most numbers show it in their first rows.
    if len(np.unique(values[:500])) > MOST_CATEGORIES:
        return None
    tally: Tally = {}
    # A few passes cost a tenth of a sort.
    while len(values):
        if len(tally) == MOST_CATEGORIES:
            return None
        others = values[values != values[0]]
        tally[float(values[0])] = len(values) - len(others)
        values = others
    return dict(sorted(tally.items()))


def _test_missing(
    before: NDArray[np.bool_], now: NDArray[np.bool_]
) -> tuple[Test, tuple[float, float], float, Distribution]:
    """Compare the shares of what is unknown, (n,) and (m,): by Fisher's exact test, or chi-square in large samples."""
    table = np.array([[part.sum(), (~part).sum()] for part in (before, now)])
    # Half a row more in each cell: the odds ratio stays finite where nothing is missing (Haldane, Anscombe).
    (some, rest), (some_now, rest_now) = table + 0.5
    is_large = (stats.contingency.expected_freq(table) >= _SMALLEST_EXPECTED).all()
    result = stats.chi2_contingency(table) if is_large else stats.fisher_exact(table)
    distribution = Distribution([], ["unknown", "known"], table[0].tolist(), table[1].tolist(), _psi(*table))
    outcome = float(some * rest_now / (rest * some_now)), float(result.pvalue)
    return "missing", outcome, abs(float(now.mean() - before.mean())), distribution


def _of_numbers(before: Values, now: Values) -> Distribution:
    """Count both ordered samples, (n,) and (m,), in bins of one width; outliers are in the outer ones."""
    low = min(_quantile(before, _TAIL), _quantile(now, _TAIL))
    high = max(_quantile(before, 1 - _TAIL), _quantile(now, 1 - _TAIL))
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    tenths = np.unique(_quantile(before, _TENTHS))
    distance = np.abs(_quantile(before, _QUANTILES) - _quantile(now, _QUANTILES)).mean(dtype=np.float64)
    return Distribution(
        edges=edges.tolist(),
        categories=[],
        reference=_counts(before, edges[1:-1]).tolist(),
        window=_counts(now, edges[1:-1]).tolist(),
        psi=_psi(_counts(before, tenths), _counts(now, tenths)),
        wasserstein=float(distance),
    )


def _of_categories(name: str, categories: Tally, now: Values) -> Distribution:
    """Count a window (m,) by the reference's categories, and all other values together."""
    names = {code: text for text, code in CODES.get(name, {}).items()}
    labels = [names.get(value, f"{value:g}") for value in categories]
    counts, counts_now = list(categories.values()), [int((now == value).sum()) for value in categories]
    others = len(now) - sum(counts_now)
    if others:
        labels, counts, counts_now = [*labels, ""], [*counts, 0], [*counts_now, others]
    return Distribution([], labels, counts, counts_now, _psi(np.array(counts), np.array(counts_now)))


def _quantile(ordered: Values, share: float | NDArray[np.float64]) -> Values:
    """Take the values below which a share of an ordered sample (n,) lies."""
    quantiles: Values = ordered[np.minimum((np.asarray(share) * len(ordered)).astype(np.intp), len(ordered) - 1)]
    return quantiles


def _counts(ordered: Values, limits: Values | NDArray[np.float64]) -> Counts:
    """Count the values of an ordered sample (n,) below, between and from the limits (k,) on: shape (k + 1,)."""
    places = np.searchsorted(ordered, limits.astype(np.float32))
    return np.diff(np.concatenate([[0], places, [len(ordered)]]))


def _psi(before: Counts, now: Counts) -> float:
    """Compute the population stability index of counts in bins, (k,), with half a row more in each."""
    shares, shares_now = ((counts + 0.5) / (counts + 0.5).sum() for counts in (before, now))
    return float(((shares_now - shares) * np.log(shares_now / shares)).sum())


def _pooled(categories: Tally, before: Values, now: Values) -> tuple[Values, Values, list[float]]:
    """Merge the rare categories of both into one: those of which the window would expect fewer than five."""
    everything = [*categories, *np.unique(now[~np.isin(now, [*categories])]).tolist()]
    counts = np.array([categories.get(value, 0) + (now == value).sum() for value in everything])
    is_rare = counts * min(len(before), len(now)) / (len(before) + len(now)) < _SMALLEST_EXPECTED
    rare = np.array(everything)[is_rare].tolist()
    if not rare:
        return before, now, everything
    before, now = (np.where(np.isin(part, rare), np.float32(rare[0]), part) for part in (before, now))
    return before, now, [value for value in everything if value not in rare[1:]]
