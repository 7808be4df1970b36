"""How often the drift watch raises a false alarm, and how soon it sees a shift, beside simpler tests.

python -m benchmarks.drift

Reference and streams are fresh draws with replacement from all passengers. A reference is drawn in whole families, as a
table has them; streams row by row, and the unchanged ones once more by families. A shift begins when the longest window
is full of unchanged rows.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.__main__ import main
from benchmarks.figure import Figure

#: How many references, and streams against each: unchanged ones, and those of each shift; simpler tests see the first.
REFERENCES, UNCHANGED, SHIFTED = 25, 12, 4
#: Predictions of an unchanged stream, and after which a shift has not been seen.
LENGTH, PATIENCE = 10_000, 3_000
WATCH = "drift watch"

Columns = dict[str, Any]
Draws = Any
#: Returns the predictions of a stream of features, counted from 1, after which it raises an alarm.
Detector = Callable[[Any], Any]


def _replaced(name: str, change: Callable[[Any], Any]) -> Callable[[Columns, Draws], Columns]:
    return lambda people, draws: {**_taken(people, draws), name: change(people[name][draws])}


def _only(keeps: Callable[[Columns], Any]) -> Callable[[Columns, Draws], Columns]:
    """Draw from those alone that are kept."""

    def draw(people: Columns, draws: Draws) -> Columns:
        kept = np.flatnonzero(keeps(people))
        return _taken(people, kept[draws % len(kept)])

    return draw


def _taken(people: Columns, draws: Draws) -> Columns:
    return {name: column[draws] for name, column in people.items()}


def _exchanged(ports: Any) -> Any:
    return np.array([{"S": "C", "C": "S"}.get(port, port) for port in ports], dtype=object)


def _sliding(people: Columns, draws: Draws) -> Columns:
    """Fares rise by a thousandth with every prediction."""
    return {**_taken(people, draws), "fare": people["fare"][draws] * (1 + np.arange(len(draws)) / 1_000)}


#: Each shift, and the predictions in which half of its streams must have raised an alarm.
SHIFTS: dict[str, tuple[Callable[[Columns, Draws], Columns], int]] = {
    "age unknown": (_replaced("age", lambda age: np.full(len(age), np.nan)), 60),
    "women only": (_only(lambda people: people["sex"] == "female"), 60),
    "ports exchanged": (_replaced("embarked", _exchanged), 60),
    "third class only": (_only(lambda people: people["pclass"] == 3), 60),
    "one row repeated": (lambda people, draws: _taken(people, np.repeat(draws[:1], len(draws))), 60),
    "fares x 1.5": (_replaced("fare", lambda fare: fare * 1.5), 150),
    "ages + 8": (_replaced("age", lambda age: age + 8), 150),
    "Cherbourg gone": (_only(lambda people: people["embarked"] != "C"), 150),
    "fares x 1.2": (_replaced("fare", lambda fare: fare * 1.2), 400),
    "ages + 4": (_replaced("age", lambda age: age + 4), 400),
    "fares sliding": (_sliding, 400),
}


def measure(*, is_quick: bool) -> list[Figure]:
    """By detector, false alarms in 10,000 predictions, and for each shift the median delay and the share seen."""
    from benchmarks.passengers import columns, examples
    from features.definition import derive
    from monitoring import watch

    (people,) = columns()
    groups, matrix, rng = examples().groups, derive(people), np.random.default_rng(11)
    by_row, by_family = watch.draw_rows(len(matrix)), watch.draw_groups(groups)
    references, unchanged, shifted = (1, 1, 1) if is_quick else (REFERENCES, UNCHANGED, SHIFTED)
    options = {"streams": 4, "length": 1_000} if is_quick else {}
    length, patience = (1_000, 500) if is_quick else (LENGTH, PATIENCE)
    alarms: dict[str, list[int]] = {}
    delays: dict[tuple[str, str], list[float]] = {}
    for number in range(references):
        drawn = by_family(rng, len(matrix))
        calibrated = watch.calibrate(matrix[drawn], _families(groups[drawn]), seed=number, **options)
        detectors: dict[str, Detector] = {
            WATCH: partial(_watch_alarms, calibrated),
            "hourly check": partial(_check_alarms, matrix[drawn]),
            "windows at p < 0.05": partial(_window_alarms, matrix[drawn]),
            "one-row KS test": partial(_row_alarms, matrix[drawn]),
        }
        for turn in range(unchanged):
            stream = matrix[by_row(rng, length)]
            for name, detect in _in_turn(detectors, turn):
                alarms.setdefault(f"{name}: false alarms", []).append(_count(name, detect(stream)))
            positions = detectors[WATCH](matrix[by_family(rng, length)])
            alarms.setdefault(f"{WATCH}: false alarms, families together", []).append(_count(WATCH, positions))
        for shift_name, (shift, _) in SHIFTS.items():
            for turn in range(shifted):
                before = matrix[by_row(rng, watch.WINDOWS[-1])]
                stream = np.vstack([before, derive(shift(people, by_row(rng, patience)))])
                for name, detect in _in_turn(detectors, turn):
                    positions = detect(stream) - len(before)
                    first = next((float(position) for position in positions if position > 0), np.inf)
                    delays.setdefault((name, shift_name), []).append(first)
    return [*_false_alarms(alarms), *_delays(delays)]


def _in_turn(detectors: dict[str, Detector], turn: int) -> list[tuple[str, Detector]]:
    """All of them at first, then the watch alone: the simpler ones take far longer."""
    return [(name, detect) for name, detect in detectors.items() if turn == 0 or name == WATCH]


def _count(detector: str, positions: Any) -> int:
    """Count alarms; one of the watch lasts until the longest window has passed without a test that exceeds."""
    from monitoring import watch

    if detector != WATCH:
        return len(positions)
    return int((np.diff(positions, prepend=-np.inf) > watch.WINDOWS[-1]).sum())


def _false_alarms(alarms: dict[str, list[int]]) -> Iterator[Figure]:
    """The rates; the 95 % interval by the chi-squared distribution (Garwood 1936) stands in the name."""
    for name, counts in alarms.items():
        total, streams = sum(counts), len(counts)
        low = stats.chi2.ppf(0.025, 2 * total) / 2 / streams if total else 0.0
        high = stats.chi2.ppf(0.975, 2 * total + 2) / 2 / streams
        bound = 1.0 if name.startswith(WATCH) else None
        yield Figure(f"{name} ({low:.2f} to {high:.2f})", total / streams, "in 10,000", at_most=bound)


def _delays(delays: dict[tuple[str, str], list[float]]) -> Iterator[Figure]:
    for (name, shift), each in delays.items():
        seen, median = np.mean(np.isfinite(each)), min(float(np.median(each)), PATIENCE)
        bound = SHIFTS[shift][1] if name == WATCH else None
        yield Figure(f"{name}: {shift}, median delay ({seen:.0%} seen)", median, "predictions", at_most=bound)


def _watch_alarms(calibrated: Any, stream: Any) -> Any:
    """The predictions (counted from 1) after which a test of the watch exceeds its threshold."""
    from monitoring import watch

    counts = [np.array(column.counts) for column in calibrated.columns]
    bins = list(calibrated.bins(stream).T.astype(np.int64))
    statistics = watch.stream_statistics(calibrated.columns, bins, counts)
    looks = np.flatnonzero((statistics > np.array(calibrated.thresholds, np.float32)).any(axis=(1, 2)))
    return (looks + 1) * watch.STEP


def _check_alarms(reference: Any, stream: Any) -> Any:
    """The same of a check of each 500 predictions, with its corrected threshold."""
    from monitoring.drift import compare

    return _each_window(
        stream, 500, lambda window: any(test.drifted for test in compare(reference, window, backend="scipy"))
    )


def _window_alarms(reference: Any, stream: Any) -> Any:
    """The same of a test of each feature on each 200 predictions, without a correction."""
    from monitoring.drift import compare

    return _each_window(
        stream, 200, lambda window: any(test.p_value < 0.05 for test in compare(reference, window, backend="scipy"))
    )


def _each_window(stream: Any, size: int, is_alarm: Callable[[Any], bool]) -> Any:
    ends = np.arange(size, len(stream) + 1, size)
    return np.array([end for end in ends if is_alarm(stream[end - size : end])], dtype=int)


def _row_alarms(reference: Any, stream: Any) -> Any:
    """The same of a KS test of each row by itself, as the old system had it."""
    from features.definition import DERIVED, FEATURES

    alarms = np.zeros(len(stream), bool)
    for name, before, now in zip(FEATURES, reference.T, stream.T, strict=True):
        if name not in DERIVED:
            known = before[~np.isnan(before)]
            values, places = np.unique(now[~np.isnan(now)], return_inverse=True)
            is_alarm = np.array([stats.ks_2samp(known, [value]).pvalue < 0.05 for value in values], dtype=bool)
            alarms[~np.isnan(now)] |= is_alarm[places] if len(values) else False
    return np.flatnonzero(alarms) + 1


def _families(groups: Any) -> Any:
    """Number drawn families: one that is drawn twice is two, and its rows stand together."""
    return np.cumsum(np.diff(groups, prepend=groups[0]) != 0)


if __name__ == "__main__":
    main("drift")
