"""Training a version from a feature batch."""

import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

import features.services
from features.definition import VERSION
from features.models import FeatureBatch
from ingestion.passenger import BASELINE, GROUP, LABEL
from titanic_site.lib import files
from titanic_site.lib.errors import Conflict, TitanicError
from titanic_site.lib.jobs import State
from training import registry
from training.examples import Examples
from training.models import ModelVersion, TrainingRun

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

THRESHOLD = 0.5
_LIBRARIES = ("numpy", "onnx", "onnxruntime", "scikit-learn", "scipy", "skl2onnx")


@dataclass(frozen=True)
class Trained:
    """A fitted pipeline with its figures."""

    pipeline: "Pipeline"
    parameters: dict[str, Any]
    metrics: dict[str, Any]


def queue_run(*, batch: FeatureBatch, algorithm: str = "random_forest", seed: int = 42) -> TrainingRun:
    """A queued training from a finished, labelled batch."""
    if batch.state != State.SUCCEEDED:
        raise Conflict(_("%(batch)s is not built: build it first.") % {"batch": batch})
    if not batch.dataset.has_label:
        raise Conflict(_("%(dataset)s does not say who survived: ingest one that does.") % {"dataset": batch.dataset})
    return TrainingRun.objects.create(feature_batch=batch, algorithm=algorithm, seed=seed)


def train(run: TrainingRun) -> None:
    """Fit, measure, export and register a candidate; the gate then says whether it takes charge."""
    with run.running():
        examples = examples_of(run.feature_batch)
        trained = _fit(run, examples)
        candidate = _register(run, examples, trained)
        holdout = examples.is_holdout
        registry.judge(candidate, matrix=examples.matrix[holdout], labels=examples.labels[holdout])


def examples_of(batch: FeatureBatch) -> Examples:
    """The batch with what Postgres knows of its rows; raises TitanicError where nothing can be learned from it."""
    rows = batch.passengers.values_list(LABEL, GROUP, "is_holdout", "line_number", BASELINE[0])
    labels, groups, is_holdout, lines, baseline = zip(*rows, strict=True)
    examples = Examples(
        matrix=features.services.matrix(batch),
        labels=np.array(labels, dtype=bool),
        # Who has no ticket number travels alone.
        groups=[group or f"line {line}" for group, line in zip(groups, lines, strict=True)],
        is_holdout=np.array(is_holdout, dtype=bool),
        baseline=np.array([value == BASELINE[1] for value in baseline]),
    )
    for part in (examples.labels[examples.is_holdout], examples.labels[~examples.is_holdout]):
        if len(set(part.tolist())) < 2 or len(part) < 10:  # noqa: PLR2004  too few for any figure
            raise TitanicError(_("The dataset is too small, or everybody in it had one fate: load more passengers."))
    return examples


def _fit(run: TrainingRun, examples: Examples) -> Trained:
    # scikit-learn takes a second and 100 MB, and this module is imported by the web.
    from training import estimators, evaluation

    def make() -> "Pipeline":
        return estimators.build(run.algorithm, seed=run.seed)

    train, holdout = ~examples.is_holdout, examples.is_holdout
    validation = evaluation.cross_validate(
        make, examples, threshold=THRESHOLD, seed=run.seed, report=lambda done: run.report(0.95 * done)
    )
    pipeline = make().fit(examples.matrix[train], examples.labels[train])
    probabilities = pipeline.predict_proba(examples.matrix[holdout])[:, 1]
    figures = evaluation.figures(examples.labels[holdout], probabilities, threshold=THRESHOLD)
    metrics = {
        "cross_validation": {**validation, "grouped_by": GROUP},
        "hold_out": {"rows": int(holdout.sum()), **figures},
        "baseline": {"accuracy": float((examples.baseline == examples.labels).mean())},
    }
    return Trained(pipeline, dict(estimators.ALGORITHMS[run.algorithm]), metrics)


def _register(run: TrainingRun, examples: Examples, trained: Trained) -> ModelVersion:
    """Write the files, whole and checked, and only then the row that points at them."""
    from training import export

    graph = export.to_graph(trained.pipeline)
    golden = export.golden_rows(trained.pipeline, examples.matrix)
    artifact = export.verify(graph, trained.pipeline, examples.matrix, golden=golden)
    onnx_file = files.keep(graph, suffix=".onnx")
    pkl_file = files.keep(export.to_pickle(trained.pipeline), suffix=".pkl")
    with transaction.atomic():
        run.hold()
        return ModelVersion.objects.create(
            version=registry.next_version(),
            run=run,
            threshold=THRESHOLD,
            metrics=trained.metrics,
            parameters={"algorithm": run.algorithm, "seed": run.seed, **trained.parameters},
            made_with=_made_with(),
            definition_version=VERSION,
            onnx_file=onnx_file,
            pkl_file=pkl_file,
            sha256=artifact.sha256,
            byte_count=len(graph),
            golden_rows=golden,
        )


def _made_with() -> dict[str, str]:
    """What the training stood on: code, libraries, machine."""
    libraries = {name: version(name) for name in _LIBRARIES}
    return {"commit": _commit(), "python": platform.python_version(), "machine": platform.machine(), **libraries}


def _commit() -> str:
    try:
        command = ["git", "-C", str(settings.BASE_DIR), "rev-parse", "HEAD"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return found.stdout.strip() or "unknown"
