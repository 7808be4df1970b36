"""How often a drift check raises a false alarm, and what it detects: windows drawn from the real passengers.

python -m benchmarks.drift_false_alarms
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.__main__ import main
from benchmarks.figure import Figure

SIZES = (50, 200, 300)
REPETITIONS = 300

Columns = dict[str, Any]
SHIFTS: dict[str, Callable[[Columns], Columns]] = {
    "unchanged": lambda window: window,
    "fares x 1.5": lambda window: {**window, "fare": window["fare"] * 1.5},
    "ages + 8": lambda window: {**window, "age": window["age"] + 8},
    "third class only": lambda window: {name: column[window["pclass"] == 3] for name, column in window.items()},
    "sex inverted": lambda window: {
        **window, "sex": np.array([{"male": "female", "female": "male"}[sex] for sex in window["sex"]], dtype=object)
    },
}  # fmt: skip


def measure(*, is_quick: bool) -> list[Figure]:
    """The share (%) of checks that report drift, by shift and size of the window."""
    from benchmarks.passengers import columns
    from monitoring.drift import FALSE_ALARM_RATE

    (people,) = columns()
    repetitions = 2 if is_quick else REPETITIONS
    return [
        Figure(
            f"drift checks that report: {name}, {size} rows",
            100 * _share_of_alarms(people, shift, size=size, repetitions=repetitions),
            "%",
            at_most=100 * FALSE_ALARM_RATE if name == "unchanged" else None,
        )
        for name, shift in SHIFTS.items()
        for size in SIZES
    ]


def _share_of_alarms(people: Columns, shift: Callable[[Columns], Columns], *, size: int, repetitions: int) -> float:
    """Reference and window are disjoint halves of one shuffle, so that "unchanged" is true."""
    from features.definition import derive
    from monitoring.drift import compare

    alarms, rng, count = 0, np.random.default_rng(7), len(people["age"])
    for _ in range(repetitions):
        order = rng.permutation(count)
        pool = shift({name: column[order[count // 2 :]] for name, column in people.items()})
        window = derive({name: column[:size] for name, column in pool.items()})
        reference = derive({name: column[order[: count // 2]] for name, column in people.items()})
        alarms += any(test.drifted for test in compare(reference, window, backend="scipy"))
    return alarms / repetitions


if __name__ == "__main__":
    main("drift_false_alarms")
