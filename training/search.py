"""The search for hyper-parameters: successive halving, which gives the better candidates more and drops the rest.

Source: Li et al., Hyperband, JMLR 18 (2018); why this one: docs/decisions/0007-search-gate-and-training.md.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import joblib
import numpy as np
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - the next import needs it
from sklearn.model_selection import HalvingRandomSearchCV

from training import estimators, folds
from training.estimators import AlgorithmSpec
from training.metrics import Candidate, Trial
from training.training_data import Examples
from training.training_spec import SearchProgress, TrainingSpec

REPEATS = 2
#: One candidate of this many goes on, with this many times more of the resource.
FACTOR = 3
# The name of a hyper-parameter begins with the pipeline's last step.
_STEP = "model__"
# Fits on each core between two reports: with fewer, cores wait for each other too often.
_FITS_BETWEEN_REPORTS = 72


def search(spec: TrainingSpec, examples: Examples, *, report: Callable[[SearchProgress], None]) -> list[Trial]:
    """List candidates, the best first, by log loss over repeated folds; the same seed gives the same list."""
    if not spec.candidates:
        return []
    algorithm = estimators.ALGORITHMS[spec.algorithm]
    planned = _planned(algorithm, spec.candidates)

    def report_results(results: dict[str, Any]) -> None:
        best = _trials(results, resource=algorithm.resource)[0]
        report(SearchProgress(len(results["params"]), planned, Candidate(best.parameters, best.log_loss)))

    halving_search = halving(spec, examples, kind=_ReportingSearch)
    halving_search.report = report_results
    halving_search.fit(examples.matrix, examples.labels)
    return _trials(halving_search.cv_results_, resource=algorithm.resource)


def halving(
    spec: TrainingSpec, examples: Examples, *, kind: type[HalvingRandomSearchCV] = HalvingRandomSearchCV
) -> HalvingRandomSearchCV:
    """Set up scikit-learn's search, not yet fitted."""
    algorithm = estimators.ALGORITHMS[spec.algorithm]
    return kind(
        estimators.build(spec.algorithm, seed=spec.seed, parameters={}),
        {_STEP + name: values for name, values in algorithm.space.items()},
        n_candidates=spec.candidates,
        factor=FACTOR,
        resource=_STEP + algorithm.resource,
        min_resources=algorithm.min_resources,
        max_resources=algorithm.max_resources,
        scoring="neg_log_loss",
        cv=[split for repeat in range(REPEATS) for split in folds.stratified(examples, seed=spec.seed + repeat)],
        refit=False,
        return_train_score=False,
        error_score="raise",
        random_state=spec.seed,
    )


class _ReportingSearch(HalvingRandomSearchCV):  # type: ignore[misc]  # scikit-learn is untyped
    """Reports in the middle of a round how far it is."""

    report: Callable[[dict[str, Any]], None]

    def __getstate__(self) -> dict[str, Any]:
        # Each fit sends the search to a worker; the function that reports stays here.
        return {name: value for name, value in super().__getstate__().items() if name != "report"}

    def _run_search(self, evaluate_candidates: Callable[..., dict[str, Any]], *, callback_ctx: Any) -> None:
        def evaluate_in_parts(
            candidates: Sequence[dict[str, Any]], cv: Any, more_results: dict[str, list[Any]], **_: object
        ) -> dict[str, Any]:
            results: dict[str, Any] = {}
            step = max(1, _FITS_BETWEEN_REPORTS * joblib.effective_n_jobs() // self.n_splits_)
            for start in range(0, len(candidates), step):
                part = slice(start, start + step)
                more = {name: values[part] for name, values in more_results.items()}
                results = evaluate_candidates(candidates[part], cv, more_results=more)
                self.report(results)
            return results

        super()._run_search(evaluate_in_parts, callback_ctx=callback_ctx)


def _planned(algorithm: AlgorithmSpec, candidates: int) -> int:
    """Count the candidates of all rounds together.

    >>> _planned(estimators.ALGORITHMS["random_forest"], 27)
    39
    """
    rounds = 1 + min(
        int(math.log(candidates, FACTOR) + 1e-9),
        int(math.log(algorithm.max_resources // algorithm.min_resources, FACTOR) + 1e-9),
    )
    return sum(math.ceil(candidates / FACTOR**round_) for round_ in range(rounds))


def _trials(results: dict[str, Any], *, resource: str) -> list[Trial]:
    """List each candidate once, as of its last round: later rounds first, and within a round the best first."""
    last: dict[str, tuple[int, Trial]] = {}
    columns = (results[name] for name in ("params", "iter", "mean_test_score", "std_test_score"))
    for chosen, round_, score, spread in zip(*columns, strict=True):
        # numpy's numbers are not JSON's.
        parameters = {name.removeprefix(_STEP): np.asarray(value).item() for name, value in chosen.items()}
        candidate = repr({name: value for name, value in parameters.items() if name != resource})
        last[candidate] = (round_, Trial(parameters, -float(score), float(spread)))
    return [trial for _, trial in sorted(last.values(), key=lambda item: (-item[0], item[1].log_loss))]
