"""The search for hyper-parameters beside scikit-learn's own class on the same candidates, folds and cores.

python -m benchmarks.search
"""

import csv
import time
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np

from benchmarks.passengers import SAMPLE

ROUNDS = 3


def examples() -> Any:
    """The sample's passengers, as a training has them."""
    from features.definition import derive
    from ingestion import contract
    from ingestion.passenger import BASELINE, FIELDS, GROUP, LABEL, RULES, to_columns
    from ingestion.split import Holdout, buckets_of
    from training.examples import Examples

    with SAMPLE.open(encoding="utf-8", newline="") as file:
        rows = [{name.lower(): value or None for name, value in row.items()} for row in csv.DictReader(file)]
    names = {field.name for field in FIELDS}
    known = [{name: value for name, value in row.items() if name in names} for row in rows]
    people = [contract.check_row(FIELDS, row, rules=RULES, is_text=True)[0] for row in known]
    labels = np.array([row[LABEL] == "1" for row in rows])
    groups = [str(row[GROUP] or number) for number, row in enumerate(rows)]
    holdout, buckets = Holdout(), buckets_of(group.encode() for group in groups)
    holdout.count(labels, buckets)
    return Examples(
        derive(to_columns(people)),
        labels,
        np.unique(groups, return_inverse=True)[1].astype(np.int64),
        holdout.draw()[buckets],
        np.array([person[BASELINE[0]] == BASELINE[1] for person in people]),
    )


def measure() -> dict[str, float]:
    """Wall time of our search as a ratio to the plain one: each the best of some rounds, taken in turn."""
    from training import search
    from training.recipe import CANDIDATES

    learned = examples().learned

    def ours() -> None:
        search.search("random_forest", learned, seed=42, candidates=CANDIDATES, report=lambda _standing: None)

    def plain() -> None:
        search.halving("random_forest", learned, seed=42, candidates=CANDIDATES).fit(learned.matrix, learned.labels)

    best = {"ours": float("inf"), "plain": float("inf")}
    with joblib.parallel_config("loky", n_jobs=-1):
        # The processes are there before the clock starts.
        joblib.Parallel()(joblib.delayed(len)("") for _ in range(8))
        for _ in range(ROUNDS):
            best["plain"] = min(best["plain"], _seconds(plain))
            best["ours"] = min(best["ours"], _seconds(ours))
    return {"plain search, s": round(best["plain"], 2), "search / plain": round(best["ours"] / best["plain"], 3)}


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    import django
    from django.conf import settings

    settings.configure()
    django.setup()
    for name, figure in measure().items():
        print(f"{name:42}{figure:10,.2f}")


if __name__ == "__main__":
    main()
