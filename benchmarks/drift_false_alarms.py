"""How often a drift check cries wolf, and what it sees: windows drawn from the real passengers.

Run: python benchmarks/drift_false_alarms.py [repetitions]
"""

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import django
import numpy as np
import polars as pl
from django.conf import settings

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
settings.configure()
django.setup()

from features.definition import derive  # noqa: E402
from ingestion import sieve  # noqa: E402
from ingestion.contract import Columns  # noqa: E402
from ingestion.passenger import FIELDS, RULES  # noqa: E402
from monitoring.drift import compare  # noqa: E402

SAMPLE = Path(__file__).resolve().parent.parent / "ingestion/sample/titanic.csv"


def passengers() -> Columns:
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    cells = pl.DataFrame(rows, schema=[name.lower() for name in header], orient="row")
    return sieve.check_columns(FIELDS, cells, rules=RULES).columns


SHIFTS: dict[str, Callable[[Columns], Columns]] = {
    "unchanged": lambda window: window,
    "fares x 1.5": lambda window: {**window, "fare": window["fare"] * 1.5},
    "ages + 8": lambda window: {**window, "age": window["age"] + 8},
    "third class only": lambda window: {name: column[window["pclass"] == 3] for name, column in window.items()},
    "sex inverted": lambda window: {
        **window, "sex": np.array([{"male": "female", "female": "male"}[sex] for sex in window["sex"]], dtype=object)
    },
}  # fmt: skip


def share_of_alarms(columns: Columns, shift: Callable[[Columns], Columns], *, size: int, repetitions: int) -> float:
    """Reference and window are disjoint halves of one shuffle, so that "unchanged" is true."""
    alarms, rng, count = 0, np.random.default_rng(7), len(columns["age"])
    for _ in range(repetitions):
        order = rng.permutation(count)
        pool = shift({name: column[order[count // 2 :]] for name, column in columns.items()})
        window = derive({name: column[:size] for name, column in pool.items()})
        reference = derive({name: column[order[: count // 2]] for name, column in columns.items()})
        alarms += any(test.drifted for test in compare(reference, window, backend="scipy"))
    return alarms / repetitions


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    columns = passengers()
    print(f"share of checks that say drift, {repetitions} draws each")
    print(f"{'':20}" + "".join(f"{size:>8}" for size in (50, 200, 300)))
    for name, shift in SHIFTS.items():
        found = (share_of_alarms(columns, shift, size=size, repetitions=repetitions) for size in (50, 200, 300))
        print(f"{name:20}" + "".join(f"{share:8.3f}" for share in found))


if __name__ == "__main__":
    main()
