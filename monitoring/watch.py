"""The continuous watch: the newest live inputs, over windows of several lengths, against the model's training rows.

Every feature is counted in bins, and each window's counts are compared with the reference's: numbers by the distance of
Kolmogorov and Smirnov, categories and the share of unknown values by the root of the likelihood ratio G (Wilks 1938).
How large such a statistic may become is not read off a distribution: windows overlap, a look follows another, features
depend on each other, and people who belong together arrive together. Streams drawn from the reference show it.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.definition import CODES, DERIVED, FEATURES, Matrix
from training.training_data import Groups

#: A look follows after so many predictions.
STEP = 10
#: The newest predictions that a look compares, in as many windows.
WINDOWS = (20, 40, 80, 160, 320, 640)
#: False alarms in 10,000 predictions of unchanged inputs.
TARGET = 0.8
#: The streams of a calibration, and their length in predictions.
STREAMS, STREAM_LENGTH = 200, 10_000
# A number's distribution is compared at so many of the reference's values at most.
_MOST_BOUNDS = 128
# The statistics of a test are brought to one scale by what this share of windows exceeds.
_TAIL = 5e-5
# Nor is a test more sensitive than this: two rows of a window that are unknown where none was before are no alarm.
_LEAST_G, _LEAST_KS = 4.2, 1.95
# So many rows may be of people who belong together and differ from all others: short windows need more evidence.
_UNUSUAL_ROWS = 5

#: The bins of n predictions, shape (n, columns); there are fewer than 256.
Bins = NDArray[np.uint8]
Counts = NDArray[np.int64]
Statistics = NDArray[np.float32]
#: Draws the numbers of n rows of the reference.
Draw = Callable[[np.random.Generator, int], NDArray[np.intp]]


class Column(msgspec.Struct, frozen=True):
    """A feature of the reference: the rows up to each bound, above the last one, and those where it is unknown."""

    name: str
    bounds: list[float]
    counts: list[int]

    @property
    def is_numeric(self) -> bool:
        """Whether the values have an order that says something."""
        return self.name not in CODES and len(self.bounds) > 2  # noqa: PLR2004  a yes or no

    def bins(self, values: NDArray[np.float32]) -> NDArray[np.intp]:
        """Return each value's bin, shape (n,); the last bin is of unknown values."""
        indices = np.searchsorted(np.array(self.bounds, np.float32), values)
        indices[np.isnan(values)] = len(self.bounds) + 1
        return indices


class Exceedance(msgspec.Struct, frozen=True):
    """A test of one feature over the newest `window` predictions that exceeds its threshold."""

    feature: str
    is_missing: bool
    window: int
    statistic: float
    threshold: float


class Watch(msgspec.Struct, frozen=True):
    """A calibrated watch: the reference's columns, and each test's threshold in each window."""

    columns: list[Column]
    #: By window, and for each column first of what is unknown, then of what is known.
    thresholds: list[list[float]]
    seed: int
    streams: int
    #: False alarms in 10,000 predictions of the streams that calibrated it.
    false_alarms: float

    def bins(self, matrix: Matrix) -> Bins:
        """Return the bins of n predictions, shape (n, columns), from their features, shape (n, features)."""
        return np.stack([column.bins(values) for column, values in _tested(self.columns, matrix)], axis=1).astype(
            np.uint8
        )

    def look(self, bins: Bins) -> list[Exceedance]:
        """Compare the newest predictions, shape (n, columns) in their order; returns the tests that exceed."""
        exceeding = []
        for size, thresholds in zip(WINDOWS, self.thresholds, strict=True):
            if len(bins) < size:
                break
            limits = iter(thresholds)
            for column, newest in zip(self.columns, bins[-size:].T, strict=True):
                counts = np.bincount(newest, minlength=len(column.counts))[None]
                for is_missing, statistic in enumerate_tests(column, counts, np.array(column.counts)):
                    limit = next(limits)
                    if statistic[0] > limit:
                        exceeding.append(Exceedance(column.name, is_missing, size, float(statistic[0]), limit))
        return exceeding


def columns_of(reference: Matrix) -> list[Column]:
    """Count the reference's features, shape (n, features); those derived from others say nothing new."""
    columns = []
    for name, values in zip(FEATURES, reference.T, strict=True):
        if name in DERIVED:
            continue
        known = values[~np.isnan(values)]
        bounds = np.unique(known)
        if len(bounds) > _MOST_BOUNDS:
            bounds = np.unique(np.quantile(known, np.linspace(0, 1, _MOST_BOUNDS), method="nearest"))
        column = Column(name, bounds.tolist(), [])
        counts = np.bincount(column.bins(values), minlength=len(bounds) + 2)
        columns.append(msgspec.structs.replace(column, counts=counts.tolist()))
    return columns


def calibrate(
    reference: Matrix, groups: Groups, *, seed: int, streams: int = STREAMS, length: int = STREAM_LENGTH
) -> Watch:
    """Find thresholds at which unchanged streams raise `TARGET` false alarms in 10,000 predictions.

    Each stream, and the reference that it is compared with, is a draw of the rows (n, features) with replacement: the
    reference is a sample too. Half of the streams draw row by row, half whole groups (n,); the rate holds for both.
    """
    rng = np.random.default_rng(seed)
    columns = columns_of(reference)
    bins = [column.bins(values) for column, values in _tested(columns, reference)]
    draws: list[Draw] = [draw_rows(len(reference)), draw_groups(groups)]
    statistics = np.stack(
        [[_simulate(columns, bins, draw, rng, length=length) for _ in range(streams // len(draws))] for draw in draws]
    )  # (draws, streams, looks, windows, tests)
    least = [limit for column in columns for limit in (_LEAST_G, _LEAST_KS if column.is_numeric else _LEAST_G)]
    # Of the two ways to arrive, the one in which a test strays further.
    scale = np.maximum(np.quantile(statistics, 1 - _TAIL, axis=(1, 2)).max(axis=0), least)
    scale *= 1 + _UNUSUAL_ROWS / np.array(WINDOWS)[:, None]
    largest = (statistics / scale).max(axis=(3, 4))
    low, high = 1.0, 4.0
    while high - low > 1e-3:  # noqa: PLR2004  far below what the streams can tell apart
        factor = (low + high) / 2
        low, high = (factor, high) if max(map(false_alarms, largest > factor)) > TARGET else (low, factor)
    rate = max(map(false_alarms, largest > high))
    return Watch(columns, (scale * high).tolist(), seed, streams, rate)


def false_alarms(exceeded: NDArray[np.bool_]) -> float:
    """Count alarms in 10,000 predictions of streams, shape (streams, looks).

    An alarm lasts until the longest window has passed without a test that exceeds.
    """
    quiet_looks = WINDOWS[-1] // STEP
    alarms = 0
    for stream in exceeded:
        looks = np.flatnonzero(stream)
        alarms += int(len(looks) > 0) + int((np.diff(looks) > quiet_looks).sum())
    return alarms * 10_000 / (exceeded.size * STEP)


def stream_statistics(columns: Sequence[Column], bins: Sequence[Counts], reference: Sequence[Counts]) -> Statistics:
    """Compute every test at every look of a stream: its bins by column, each (n,), and the reference's counts.

    Returns the shape (looks, windows, tests), with 0 where a window is not full yet.
    """
    looks = len(bins[0]) // STEP
    statistics = np.zeros((looks, len(WINDOWS), 2 * len(columns)), np.float32)
    for number, (column, indices, before) in enumerate(zip(columns, bins, reference, strict=True)):
        size = len(before)
        by_look = np.bincount(np.arange(looks * STEP) // STEP * size + indices[: looks * STEP], minlength=looks * size)
        sums = np.vstack([np.zeros(size, np.int64), by_look.reshape(looks, size).cumsum(axis=0)])
        for place, window in enumerate(WINDOWS):
            steps = window // STEP
            counts = sums[steps:] - sums[:-steps]
            for is_missing, statistic in enumerate_tests(column, counts, before):
                statistics[steps - 1 :, place, 2 * number + (not is_missing)] = statistic
    return statistics


def enumerate_tests(column: Column, counts: Counts, before: Counts) -> Iterator[tuple[bool, Statistics]]:
    """Compare m windows' counts, shape (m, bins), with the reference's, shape (bins,).

    Yields for what is unknown, then for what is known, whether it is the former and the statistics, shape (m,).
    """
    known, known_before = counts[:, :-1], before[:-1]
    rows, rows_before = known.sum(axis=1), known_before.sum()
    yield True, _g(np.stack([counts[:, -1], rows], axis=1), np.array([before[-1], rows_before]))
    if column.is_numeric:
        shares = known.cumsum(axis=1) / np.maximum(rows, 1)[:, None]
        distance = np.abs(shares - known_before.cumsum() / max(rows_before, 1)).max(axis=1)
        yield False, distance * np.sqrt(rows * rows_before / np.maximum(rows + rows_before, 1))
    else:
        yield False, _g(known, known_before)


def _g(counts: Counts, before: Counts) -> Statistics:
    """Compute the root of the likelihood ratio of m windows' counts, shape (m, bins), to the reference's, (bins,)."""
    rows, rows_before = counts.sum(axis=1, keepdims=True), before.sum()
    together = (counts + before) / np.maximum(rows + rows_before, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(counts > 0, counts * np.log(counts / (rows * together)), 0)
        terms_before = np.where(before > 0, before * np.log(before / (rows_before * together)), 0)
    return np.where(rows[:, 0] > 0, np.sqrt(np.maximum(2 * (terms + terms_before).sum(axis=1), 0)), 0)


def _simulate(
    columns: Sequence[Column], bins: Sequence[Counts], draw: Draw, rng: np.random.Generator, *, length: int
) -> Statistics:
    """Draw a reference and a stream, and compute the tests at every look."""
    drawn, stream = draw(rng, len(bins[0])), draw(rng, length)
    reference = [
        np.bincount(indices[drawn], minlength=len(column.counts)) for column, indices in zip(columns, bins, strict=True)
    ]
    return stream_statistics(columns, [indices[stream] for indices in bins], reference)


def draw_rows(row_count: int) -> Draw:
    """Draw rows one by one, with replacement."""
    return lambda rng, count: rng.integers(row_count, size=count)


def draw_groups(groups: Groups) -> Draw:
    """Draw whole groups (n,) with replacement, so that their rows come together."""
    order = np.argsort(groups, kind="stable")
    _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)

    def draw(rng: np.random.Generator, count: int) -> NDArray[np.intp]:
        chosen = rng.integers(len(sizes), size=count)
        ends = sizes[chosen].cumsum()
        # Each row's place within its group, behind the place where the group starts.
        drawn: NDArray[np.intp] = order[
            np.repeat(starts[chosen] - ends + sizes[chosen], sizes[chosen])[:count] + np.arange(count)
        ]
        return drawn

    return draw


def _tested(columns: Sequence[Column], matrix: Matrix) -> Iterator[tuple[Column, NDArray[np.float32]]]:
    """Yield each column with its values in a matrix, shape (n,)."""
    return ((column, matrix[:, FEATURES.index(column.name)]) for column in columns)
