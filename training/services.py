"""Training a version from a feature batch, and making one again."""

import platform
import subprocess
import time
from importlib.metadata import version as version_of
from typing import Any

import numpy as np
from django.conf import settings
from django.utils.translation import gettext as _

import features.services
from core import content_store
from core.errors import Conflict, TitanicError
from core.jobs import Job, State
from features.definition import VERSION
from features.models import FeatureBatch
from ingestion.passenger import BASELINE, FIELD_NAMES, GROUP, LABEL
from training import registry, subprocess_training
from training.artifact import ArtifactError
from training.models import ModelVersion, Reproduction, TrainingRun
from training.training_data import Examples
from training.training_spec import CANDIDATES, Progress, TrainedModel, TrainingSpec

_LIBRARIES = ("joblib", "numpy", "onnx", "onnxruntime", "scikit-learn", "scipy", "skl2onnx")
_FEWEST_ROWS = 10
#: With so many, a share differs from that with all of the sample by some hundredths.
BACKGROUND_ROWS = 32


def queue_run(
    *, batch: FeatureBatch, algorithm: str = "random_forest", seed: int = 42, candidates: int = CANDIDATES
) -> TrainingRun:
    """A queued training from a finished, labelled batch."""
    if batch.state != State.SUCCEEDED:
        raise Conflict(_("%(batch)s is not built: build it first.") % {"batch": batch})
    if not batch.dataset.has_label:
        raise Conflict(_("%(dataset)s does not say who survived: ingest one that does.") % {"dataset": batch.dataset})
    return TrainingRun.objects.create(feature_batch=batch, algorithm=algorithm, seed=seed, candidates=candidates)


def train(run: TrainingRun) -> None:
    """Fit, measure, export, judge and register a version; it is promoted when it passes the gate."""
    with run.running():
        started = time.monotonic()
        examples = examples_of(run.feature_batch)
        made = _fit(run, run.spec, examples, watch=lambda progress: _note(run, progress))
        version = _version(run, made, seconds=time.monotonic() - started)
        try:
            registry.register(version, holdout=examples.holdout)
        except ArtifactError as error:
            raise TitanicError(_("The model that was made must not serve: %(reason)s.") % {"reason": error}) from error


def queue_reproduction(*, version: ModelVersion) -> Reproduction:
    """Queue an attempt to reproduce a version."""
    return Reproduction.objects.create(version=version)


def reproduce(reproduction: Reproduction) -> None:
    """Train the version again from its batch and spec, and record whether the file is equal, or what differs."""
    with reproduction.running():
        version = reproduction.version
        made = _fit(reproduction, version.spec, examples_of(version.feature_batch), watch=lambda _progress: None)
        reproduction.sha256 = content_store.sha256_of(made.graph)
        reproduction.is_equal = reproduction.sha256 == version.sha256
        reproduction.differences = differences(version, made)
        reproduction.save(update_fields=["sha256", "is_equal", "differences"])


def differences(version: ModelVersion, made: TrainedModel) -> list[dict[str, Any]]:
    """What a version's record says otherwise than a model made just now: data, code, machine, parameters, figures."""
    now = {**_made_with(version.feature_batch), **made.parameters, "threshold": made.threshold}
    then = {**version.made_with, **version.parameters, "threshold": version.threshold}
    for name in ("log_loss", "accuracy"):
        now[f"cross-validation {name}"] = made.metrics["cross_validation"][name]["mean"]
        then[f"cross-validation {name}"] = version.metrics["cross_validation"][name]["mean"]
    return [
        {"name": name, "then": then.get(name), "now": value} for name, value in now.items() if then.get(name) != value
    ]


def examples_of(batch: FeatureBatch) -> Examples:
    """The batch with what Postgres knows of its rows; raises TitanicError where nothing can be learned from it."""
    rows = batch.passengers.values_list(LABEL, GROUP, "is_holdout", "line_number", BASELINE[0])
    labels, groups, is_holdout, lines, baseline = zip(*rows, strict=True)
    # Who has no ticket number travels alone.
    travelling = [group or f"line {line}" for group, line in zip(groups, lines, strict=True)]
    examples = Examples(
        matrix=features.services.matrix(batch),
        labels=np.array(labels, dtype=bool),
        groups=np.unique(travelling, return_inverse=True)[1].astype(np.int64),
        is_holdout=np.array(is_holdout, dtype=bool),
        baseline=np.array([value == BASELINE[1] for value in baseline]),
    )
    for part in (examples.holdout, examples.train):
        if len(set(part.labels.tolist())) < 2 or len(part.labels) < _FEWEST_ROWS:  # noqa: PLR2004  both labels
            raise TitanicError(_("The dataset is too small, or everybody in it had one fate: load more passengers."))
    return examples


def _fit(job: Job, spec: TrainingSpec, examples: Examples, *, watch: Any) -> TrainedModel:
    def report(progress: Progress) -> None:
        job.report(0.98 * progress.done)
        watch(progress)

    limits = subprocess_training.Limits(settings.LONGEST_TRAINING_SECONDS, settings.LARGEST_TRAINING_BYTES)
    try:
        return subprocess_training.fit(
            spec, examples, limits=limits, report=report, dask_scheduler=settings.ENV.dask_scheduler
        )
    except subprocess_training.TrainingError as error:
        raise TitanicError(_("The training came to nothing: %(reason)s.") % {"reason": error}) from error


def _note(run: TrainingRun, progress: Progress) -> None:
    """Write down how the search stands, when it stands otherwise than before."""
    search = progress.search
    if search is None or (run.search and run.search["tried"] == search.tried):
        return
    best = {"log_loss": search.best.log_loss, "parameters": search.best.parameters}
    run.search = {"tried": search.tried, "of": search.of, "best": best}
    run.save(update_fields=["search"])


def _version(run: TrainingRun, made: TrainedModel, *, seconds: float) -> ModelVersion:
    """The version, not yet registered, with its files complete."""
    return ModelVersion(
        run=run,
        threshold=made.threshold,
        metrics={**made.metrics, "cross_validation": {**made.metrics["cross_validation"], "grouped_by": GROUP}},
        parameters={"algorithm": run.algorithm, "seed": run.seed, **made.parameters},
        made_with={**_made_with(run.feature_batch), "seconds": round(seconds, 1)},
        definition_version=VERSION,
        onnx_file=content_store.store(made.graph, suffix=".onnx"),
        pkl_file=content_store.store(made.pickle, suffix=".pkl"),
        sha256=content_store.sha256_of(made.graph),
        byte_count=len(made.graph),
        golden_rows=made.golden,
        background=_background(run),
    )


def _background(run: TrainingRun) -> list[list[Any]]:
    """Some of those it learned from, in the order of the contract's fields; the same seed draws the same."""
    train = run.feature_batch.passengers.filter(is_holdout=False)
    lines = list(train.values_list("line_number", flat=True))
    drawn = np.random.default_rng(run.seed).permutation(len(lines))[:BACKGROUND_ROWS]
    found = train.filter(line_number__in=[lines[place] for place in drawn]).order_by("line_number")
    return [list(row) for row in found.values_list(*FIELD_NAMES)]


def _made_with(batch: FeatureBatch) -> dict[str, str]:
    """What a training stands on: data, code, libraries, machine."""
    return {
        "dataset sha256": batch.dataset.sha256,
        "batch checksum": batch.checksum,
        "definition": VERSION,
        "commit": _commit(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        **{name: version_of(name) for name in _LIBRARIES},
    }


def _commit() -> str:
    try:
        command = ["git", "-C", str(settings.BASE_DIR), "rev-parse", "HEAD"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return found.stdout.strip() or "unknown"
