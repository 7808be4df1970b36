"""Trainings that cost a second: in this process, small forests, few candidates."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import joblib
import pytest
from msgspec import structs

from training import services, subprocess_training
from training.training_data import Examples
from training.training_spec import Progress, TrainedModel, TrainingSpec


class InProcess:
    """What `services` takes from `training.subprocess_training`, without the process."""

    Limits = subprocess_training.Limits
    TrainingError = subprocess_training.TrainingError

    @staticmethod
    def fit(spec: TrainingSpec, examples: Examples, *, report: Callable[[Progress], None], **_: Any) -> TrainedModel:
        """Train here; raises TrainingError as the real one does."""
        from training import estimators, evaluation, fitting
        from training.export import ExportError
        from training.folds import NotEnoughData

        forest = estimators.ALGORITHMS["random_forest"]
        small = replace(
            forest,
            defaults={**forest.defaults, "n_estimators": 15},
            min_resources=5,
            max_resources=15,
            may_need_calibration=False,
        )
        with pytest.MonkeyPatch.context() as patch, joblib.parallel_config("sequential"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            patch.setattr(estimators, "ALGORITHMS", {**estimators.ALGORITHMS, "random_forest": small})
            patch.setattr(evaluation, "REPEATS", 3)
            patch.setattr(evaluation, "RESAMPLES", 20)
            patch.setattr(evaluation, "_PERMUTATIONS", 1)
            try:
                return fitting.fit(structs.replace(spec, candidates=min(spec.candidates, 3)), examples, report=report)
            except (NotEnoughData, ExportError) as error:
                raise subprocess_training.TrainingError(str(error)) from error


def install(patch: pytest.MonkeyPatch) -> None:
    """Let `services` train so until the patch is undone."""
    patch.setattr(services, "subprocess_training", InProcess)
