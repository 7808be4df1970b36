"""The search for hyper-parameters beside scikit-learn's own class on the same candidates, folds and cores.

python -m benchmarks.search
"""

import joblib
from django.conf import settings

from benchmarks.__main__ import main
from benchmarks.figure import Figure, best_seconds


def measure(*, is_quick: bool) -> list[Figure]:
    """Wall time of our search as a ratio to the plain one."""
    from benchmarks.passengers import examples
    from training import search
    from training.training_spec import TrainingSpec

    train, spec = examples().train, TrainingSpec("random_forest", 42, 1 if is_quick else settings.TRAINING_CANDIDATES)

    def plain() -> None:
        search.halving(spec, train).fit(train.matrix, train.labels)

    def ours() -> None:
        search.search(spec, train, report=lambda _progress: None)

    with joblib.parallel_config("loky", n_jobs=-1):
        # The processes are there before the clock starts.
        joblib.Parallel()(joblib.delayed(len)("") for _ in range(8))
        reference, search_seconds = best_seconds(plain, ours, rounds=1 if is_quick else 3)
    return [
        Figure("search", search_seconds, "s", reference=Figure("scikit-learn's search", reference, "s"), at_most=1.1)
    ]


if __name__ == "__main__":
    main("search")
