"""From examples to a model that is fitted, measured and exported: the whole of a training, without a database."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import Pipeline

from core.messages import Message
from features.definition import FEATURES
from training import estimators, evaluation, export, folds, search
from training.evaluation import EstimatorFactory, OutOfFold
from training.metrics import (
    Baseline,
    ByEvaluation,
    Calibration,
    CrossValidation,
    Input,
    Metrics,
    Parameters,
    Search,
    Threshold,
)
from training.reference import Reference
from training.training_data import Examples
from training.training_spec import Progress, TrainedModel, TrainingSpec

#: Without a reason to choose another: the label is predicted when it is likelier than not.
USUAL_THRESHOLD = 0.5
_THRESHOLDS = np.arange(30, 71) / 100
_REPEATS_TO_CHOOSE = 2
_FOLDS_TO_CALIBRATE = 3
_THRESHOLD_RULE = Message(
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
    """Search, choose calibration and threshold, fit, measure and export; raises NotEnoughData or ExportError.

    `search_on` is joblib's configuration for the search, where that runs on other cores than the rest.

    Everything is chosen on the training rows by cross-validation; the hold-out is used once, when all is chosen.
    """
    train, holdout, began = examples.train, examples.holdout, time.monotonic()
    with search_on or nullcontext():
        trials = search.search(
            spec, train, report=lambda progress: report(Progress(0.5 * progress.tried / progress.of, progress))
        )
    searched = Search(spec.candidates, round(time.monotonic() - began, 1), trials)
    parameters = trials[0].parameters if trials else dict(estimators.ALGORITHMS[spec.algorithm].defaults)
    make, out_of_fold, calibration = _choose_calibration(spec, parameters, train, report=report)
    chosen = choose_threshold(train, out_of_fold)
    threshold = chosen.value
    pipeline = make(train).fit(train.matrix, train.labels)
    report(Progress(0.82))
    importance = evaluation.importance(make, train, folds.stratified(train, seed=spec.seed), seed=spec.seed)
    report(Progress(0.95))
    probabilities = pipeline.predict_proba(holdout.matrix)[:, 1]
    # Curves and slices of one repeat: the mean of several would be a better model than the one that serves.
    first = out_of_fold[0]
    metrics = Metrics(
        search=searched,
        calibration=calibration,
        threshold=chosen,
        cross_validation=evaluation.summary(train, out_of_fold, threshold=threshold, intervals_with=spec.seed),
        ungrouped=_ungrouped(spec, train, make, threshold=threshold) if train.has_groups else None,
        hold_out=evaluation.holdout(holdout, probabilities, threshold=threshold, seed=spec.seed),
        baseline=None if train.baseline is None else Baseline(float((train.baseline == train.labels).mean())),
        curves=ByEvaluation(evaluation.curves(train.labels, first), evaluation.curves(holdout.labels, probabilities)),
        slices=ByEvaluation(
            evaluation.by_slice(train, first, threshold=threshold),
            evaluation.by_slice(holdout, probabilities, threshold=threshold),
        ),
        importance=importance,
        inputs=inputs(train),
    )
    graph = export.to_graph(pipeline)
    golden = export.golden_rows(pipeline, examples.matrix)
    export.verify(graph, pipeline, examples.matrix, golden=golden)
    reference = Reference.sample(train, first, seed=spec.seed).to_bytes()
    return TrainedModel(graph, export.to_pickle(pipeline), reference, golden, parameters, threshold, metrics)


def choose_threshold(examples: Examples, out_of_fold: OutOfFold) -> Threshold:
    """Choose the threshold by `_THRESHOLD_RULE` from predictions of shape (repeats, n)."""
    right = np.array([((out_of_fold >= threshold) == examples.labels).mean(axis=0) for threshold in _THRESHOLDS])
    accuracy = right.mean(axis=1)
    usual, best = int(np.argmin(np.abs(_THRESHOLDS - USUAL_THRESHOLD))), int(accuracy.argmax())
    gain = right[best] - right[usual]
    is_better = gain.mean() > 2 * gain.std(ddof=1) / np.sqrt(len(gain))
    value = float(_THRESHOLDS[best if is_better else usual])
    return Threshold(value, _THRESHOLD_RULE.text, _THRESHOLDS.tolist(), accuracy.round(5).tolist())


def inputs(train: Examples) -> dict[str, Input]:
    """Describe each feature of the training rows: how many different values, unknown ones, and the range."""
    described = {}
    for name, values in zip(FEATURES, train.matrix.T, strict=True):
        is_unknown = np.isnan(values)
        known = values[~is_unknown]
        span = (float(known.min()), float(known.max())) if len(known) else ()
        described[name] = Input(len(np.unique(known)), float(is_unknown.mean()), *span)
    return described


def _choose_calibration(
    spec: TrainingSpec, parameters: Parameters, train: Examples, *, report: Callable[[Progress], None]
) -> tuple[EstimatorFactory, OutOfFold, Calibration]:
    """Choose the plain pipeline or the calibrated one by log loss, with its out-of-fold predictions (repeats, n)."""
    splits = [folds.stratified(train, seed=spec.seed + repeat) for repeat in range(evaluation.REPEATS)]
    choices: dict[str, EstimatorFactory] = {"none": partial(uncalibrated, spec, parameters)}
    if estimators.ALGORITHMS[spec.algorithm].may_need_calibration:
        choices["sigmoid"] = partial(calibrated, spec, parameters)
    predictions, losses = {}, {}
    for name, make in choices.items():
        predictions[name] = evaluation.cross_validate(make, train, splits[:_REPEATS_TO_CHOOSE])
        losses[name] = evaluation.summary(train, predictions[name], threshold=USUAL_THRESHOLD).log_loss.value
        report(Progress(0.5 + 0.15 * len(predictions) / len(choices)))
    chosen = min(losses, key=lambda name: losses[name])
    rest = evaluation.cross_validate(choices[chosen], train, splits[_REPEATS_TO_CHOOSE:])
    report(Progress(0.8))
    return choices[chosen], np.vstack([predictions[chosen], rest]), Calibration(chosen, losses)


def uncalibrated(spec: TrainingSpec, parameters: Parameters, _train: Examples) -> Pipeline:
    """Build the pipeline as it is."""
    return estimators.build(spec.algorithm, seed=spec.seed, parameters=parameters)


def calibrated(spec: TrainingSpec, parameters: Parameters, train: Examples) -> CalibratedClassifierCV:
    """Build the pipeline with Platt's sigmoid (1999) over its out-of-fold predictions.

    One model, not five: with `ensemble` the ONNX graph was off by 0.005, isotonic by up to 0.05.
    """
    splits = folds.stratified(train, seed=spec.seed, count=_FOLDS_TO_CALIBRATE)
    return CalibratedClassifierCV(uncalibrated(spec, parameters, train), method="sigmoid", cv=splits, ensemble=False)


def _ungrouped(spec: TrainingSpec, train: Examples, make: EstimatorFactory, *, threshold: float) -> CrossValidation:
    """Measure by folds without regard to groups, for comparison with the grouped ones."""
    splits = [folds.ungrouped(train, seed=spec.seed + repeat) for repeat in range(_REPEATS_TO_CHOOSE)]
    return evaluation.summary(train, evaluation.cross_validate(make, train, splits), threshold=threshold)
