"""From examples to a model that is fitted, measured and exported: the whole of a training, without a database."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import Pipeline

from training import estimators, evaluation, export, folds, search
from training.evaluation import EstimatorFactory, OutOfFold
from training.folds import Split
from training.training_data import Examples
from training.training_spec import Progress, SearchProgress, TrainedModel, TrainingSpec, Trial

#: Without a reason to choose another: a person is said to survive when that is likelier than not.
USUAL_THRESHOLD = 0.5
_THRESHOLDS = np.arange(30, 71) / 100
_REPEATS_TO_CHOOSE = 2
_FOLDS_TO_CALIBRATE = 3
THRESHOLD_RULE = (
    "0.5, unless another threshold between 0.3 and 0.7 is right more often on cross-validation predictions by more than"
    " two standard errors of the difference"
)


def fit(
    spec: TrainingSpec,
    examples: Examples,
    *,
    report: Callable[[Progress], None],
    search_on: AbstractContextManager[object] | None = None,
) -> TrainedModel:
    """Search, choose calibration and threshold, fit, measure and export; raises TooFew or ExportError.

    `search_on` is joblib's configuration for the search, where other cores than those of the rest do it.

    Everything is chosen on the learned rows by cross-validation; the hold-out is looked at once, when all is chosen.
    """
    train, began = examples.train, time.monotonic()
    with search_on or nullcontext():
        trials = _trials(spec, train, report=report)
    searched = {"candidates": spec.candidates, "seconds": round(time.monotonic() - began, 1)}
    parameters = trials[0].parameters if trials else dict(estimators.ALGORITHMS[spec.algorithm].defaults)
    splits = [folds.grouped(train, seed=spec.seed + repeat) for repeat in range(evaluation.REPEATS)]
    make, begun, calibration = _choose_calibration(spec, parameters, train, splits[:_REPEATS_TO_CHOOSE], report=report)
    rest = splits[_REPEATS_TO_CHOOSE:]
    ended = evaluation.cross_validate(make, train, rest, report=lambda done: report(Progress(0.65 + 0.15 * done)))
    found = np.vstack([begun, ended])
    threshold, chosen = choose_threshold(train, found)
    pipeline = make(train).fit(train.matrix, train.labels)
    report(Progress(0.82))
    metrics = {
        "search": {**searched, "trials": [asdict(trial) for trial in trials]},
        "calibration": calibration,
        "threshold": chosen,
        **_measure(spec, train, make, found, threshold=threshold),
        "inputs": inputs(train),
        "importance": evaluation.importance(make, train, splits[0], seed=spec.seed),
        "baseline": {"accuracy": float((train.baseline == train.labels).mean())},
    }
    report(Progress(0.95))
    _add_holdout(metrics, pipeline, examples.holdout, threshold=threshold, seed=spec.seed)
    graph = export.to_graph(pipeline)
    golden = export.golden_rows(pipeline, examples.matrix)
    export.verify(graph, pipeline, examples.matrix, golden=golden)
    return TrainedModel(graph, export.to_pickle(pipeline), golden, parameters, threshold, metrics)


def choose_threshold(examples: Examples, found: OutOfFold) -> tuple[float, dict[str, Any]]:
    """The threshold by `THRESHOLD_RULE`, and the accuracy at each one that was looked at."""
    right = np.array([((found >= threshold) == examples.labels).mean(axis=0) for threshold in _THRESHOLDS])
    accuracy = right.mean(axis=1)
    usual, best = int(np.argmin(np.abs(_THRESHOLDS - USUAL_THRESHOLD))), int(accuracy.argmax())
    gain = right[best] - right[usual]
    is_better = gain.mean() > 2 * gain.std(ddof=1) / np.sqrt(len(gain))
    threshold = float(_THRESHOLDS[best if is_better else usual])
    return threshold, {
        "value": threshold, "rule": THRESHOLD_RULE, "x": _THRESHOLDS.tolist(), "y": accuracy.round(5).tolist(),
    }  # fmt: skip


def inputs(train: Examples) -> dict[str, dict[str, float]]:
    """What each feature was when the model learned: how many values it took, and the share that was unknown."""
    features = train.features
    table = pd.DataFrame({"values": features.nunique(), "missing": features.isna().mean()})
    return table.to_dict("index")  # type: ignore[return-value]


def _trials(spec: TrainingSpec, train: Examples, *, report: Callable[[Progress], None]) -> list[Trial]:
    if not spec.candidates:
        return []

    def tell(search: SearchProgress) -> None:
        report(Progress(0.5 * search.tried / search.of, search))

    return search.search(spec.algorithm, train, seed=spec.seed, candidates=spec.candidates, report=tell)


def _choose_calibration(
    spec: TrainingSpec,
    parameters: dict[str, Any],
    train: Examples,
    splits: list[list[Split]],
    *,
    report: Callable[[Progress], None],
) -> tuple[EstimatorFactory, OutOfFold, dict[str, Any]]:
    """The plain pipeline or the calibrated one, whichever has less log loss, with its predictions out of fold."""
    choices: dict[str, EstimatorFactory] = {"none": partial(_plain, spec, parameters)}
    if estimators.ALGORITHMS[spec.algorithm].may_need_calibration:
        choices["sigmoid"] = partial(_calibrated, spec, parameters)
    found, losses = {}, {}
    for name, make in choices.items():
        found[name] = evaluation.cross_validate(make, train, splits, report=lambda _done: None)
        losses[name] = evaluation.summary(train, found[name], threshold=USUAL_THRESHOLD)["log_loss"]["mean"]
        report(Progress(0.5 + 0.15 * len(found) / len(choices)))
    chosen = min(losses, key=lambda name: losses[name])
    return choices[chosen], found[chosen], {"chosen": chosen, "log_loss": losses}


def _plain(spec: TrainingSpec, parameters: dict[str, Any], _learned: Examples) -> Pipeline:
    return estimators.build(spec.algorithm, seed=spec.seed, parameters=parameters)


def _calibrated(spec: TrainingSpec, parameters: dict[str, Any], train: Examples) -> CalibratedClassifierCV:
    """Platt's sigmoid (1999) over predictions out of grouped folds.

    One model, not five: with `ensemble` the ONNX graph was off by 0.005, isotonic by up to 0.05.
    """
    splits = folds.grouped(train, seed=spec.seed, count=_FOLDS_TO_CALIBRATE)
    return CalibratedClassifierCV(_plain(spec, parameters, train), method="sigmoid", cv=splits, ensemble=False)


def _measure(
    spec: TrainingSpec, train: Examples, make: EstimatorFactory, found: OutOfFold, *, threshold: float
) -> dict[str, Any]:
    """Figures, curves and slices of the cross-validation; the ungrouped figures stand beside them to be compared."""
    ungrouped = [folds.ungrouped(train, seed=spec.seed + repeat) for repeat in range(_REPEATS_TO_CHOOSE)]
    optimistic = evaluation.cross_validate(make, train, ungrouped, report=lambda _done: None)
    about = {"folds": folds.FOLDS, "rows": len(train.labels)}
    grouped = evaluation.summary(train, found, threshold=threshold, intervals_with=spec.seed)
    return {
        "cross_validation": {**about, "repeats": len(found), **grouped},
        "ungrouped": {
            **about, "repeats": len(optimistic), **evaluation.summary(train, optimistic, threshold=threshold),
        },
        # Of one repeat: the mean of several would be a better model than the one that serves.
        "curves": {"cross_validation": evaluation.curves(train.labels, found[0])},
        "slices": {"cross_validation": evaluation.by_slice(train, found[0], threshold=threshold)},
    }  # fmt: skip


def _add_holdout(
    metrics: dict[str, Any], pipeline: Pipeline, holdout: Examples, *, threshold: float, seed: int
) -> None:
    probabilities = pipeline.predict_proba(holdout.matrix)[:, 1]
    bounds = evaluation.intervals(holdout.labels, probabilities[None], holdout.groups, threshold=threshold, seed=seed)
    metrics["hold_out"] = {
        "rows": len(holdout.labels),
        **evaluation.figures(holdout.labels, probabilities, threshold=threshold),
        "intervals": bounds,
        "confusion": evaluation.confusion(holdout.labels, probabilities, threshold=threshold),
    }
    metrics["curves"]["hold_out"] = evaluation.curves(holdout.labels, probabilities)
    metrics["slices"]["hold_out"] = evaluation.by_slice(holdout, probabilities, threshold=threshold)
