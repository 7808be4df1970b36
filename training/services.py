"""Train a version from a feature batch, and reproduce one."""

import logging
import platform
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version as version_of
from typing import TypedDict

import msgspec
import numpy as np
from django.conf import settings
from django.utils.translation import gettext_noop
from msgspec import structs

import features.services
from core import content_store
from core.errors import Conflict, TitanicError
from core.jobs import State
from core.messages import Message as _
from features.definition import VERSION
from features.models import FeatureBatch
from ingestion.passenger import BASELINE, GROUP, LABEL
from ingestion.schema import FIELD_NAMES
from training import registry, subprocess_training
from training.artifact import ArtifactError
from training.metrics import Parameters
from training.models import ModelVersion, Reproduction, TrainingRun
from training.reference import Reference
from training.training_data import Examples
from training.training_spec import Progress, TrainedModel, TrainingSpec

logger = logging.getLogger(__name__)

_LIBRARIES = ("joblib", "numpy", "onnx", "onnxruntime", "scikit-learn", "scipy", "skl2onnx")
_FEWEST_ROWS = 10
#: With this many rows an explanation's share is within some hundredths of that by the whole sample.
BACKGROUND_ROWS = 32


class Difference(TypedDict):
    """What a version's record says, and what a reproduction says now."""

    name: str
    then: str | float | None
    now: str | float | None


def queue_run(
    *, batch: FeatureBatch, algorithm: str = "random_forest", seed: int = 42, candidates: int | None = None
) -> TrainingRun:
    """Queue a training from a finished, labelled batch."""
    if batch.state != State.SUCCEEDED:
        raise Conflict(_("%(batch)s is not built: build it first.") % {"batch": batch})
    if not batch.dataset.has_label:
        raise Conflict(_("%(dataset)s has no labels: ingest one that has.") % {"dataset": batch.dataset})
    candidates = settings.TRAINING_CANDIDATES if candidates is None else candidates
    return TrainingRun(feature_batch=batch, algorithm=algorithm, seed=seed, candidates=candidates).queue_new()


def train(run: TrainingRun) -> None:
    """Fit, measure, export, judge and register a version; it is promoted when it passes the gate."""

    def report(progress: Progress) -> None:
        run.report(progress.done)
        if progress.search not in (None, run.search_progress):
            if progress.search is not None:
                best, of = progress.search.best.log_loss, progress.search.of
                logger.info("%s of %s candidates tried, best log loss %.4f", progress.search.tried, of, best)
            run.search = msgspec.to_builtins(progress.search)
            run.save(update_fields=["search"])

    with run.running():
        started = time.monotonic()
        run.begin_stage(gettext_noop("Load rows and features"))
        examples = examples_of(run.feature_batch)
        run.begin_stage(gettext_noop("Search, fit and measure"))
        trained = _fit(run.spec, examples, report=report)
        run.begin_stage(gettext_noop("Export, judge and register"))
        version = _build_version(run, trained, seconds=time.monotonic() - started)
        try:
            registry.register(version, holdout=examples.holdout)
        except ArtifactError as error:
            raise TitanicError(_("The trained model must not serve: %(reason)s.") % {"reason": error}) from error


def queue_reproduction(*, version: ModelVersion) -> Reproduction:
    """Queue a reproduction of a version."""
    return Reproduction(version=version).queue_new()


def reproduce(reproduction: Reproduction) -> None:
    """Train the version again from its batch and spec, and record whether the file is equal, or what differs."""
    with reproduction.running():
        version = reproduction.version
        reproduction.begin_stage(gettext_noop("Load rows and features"))
        examples = examples_of(version.feature_batch)
        reproduction.begin_stage(gettext_noop("Search, fit and measure"))
        trained = _fit(version.run.spec, examples, report=lambda progress: reproduction.report(progress.done))
        reproduction.begin_stage(gettext_noop("Compare with the version"))
        reproduction.sha256 = content_store.sha256_of(trained.graph)
        reproduction.is_equal = reproduction.sha256 == version.sha256
        reproduction.differences = differences(version, trained)
        reproduction.save(update_fields=["sha256", "is_equal", "differences"])


def differences(version: ModelVersion, trained: TrainedModel) -> list[Difference]:
    """Compare a version's record with a model trained just now: data, code, machine, parameters, figures."""
    now: Parameters = {**_made_with(version.feature_batch), **trained.parameters, "threshold": trained.threshold}
    then: Parameters = {**version.made_with, **version.parameters, "threshold": version.threshold}
    for record, metrics in ((now, trained.metrics), (then, version.evaluation)):
        record["cross-validation log_loss"] = metrics.cross_validation.log_loss.value
        record["cross-validation accuracy"] = metrics.cross_validation.accuracy.value
    return [
        Difference(name=name, then=then.get(name), now=value) for name, value in now.items() if then.get(name) != value
    ]


def reference_of(version: ModelVersion) -> Reference:
    """Load the training rows that live inputs of the version are compared with.

    A version without a file of them is of an earlier version of this product: its batch has them. Raises Conflict where
    that is archived, TitanicError where the file cannot be read.
    """
    if not version.reference_file:
        return Reference.sample(examples_of(version.feature_batch).train, seed=version.run.seed)
    try:
        with version.reference_file.open() as file:
            return Reference.from_bytes(file.read())
    except OSError as error:
        message = _("The training rows of %(version)s cannot be read: %(reason)s. Train a new model.")
        raise TitanicError(message % {"version": version, "reason": error}) from error


def examples_of(batch: FeatureBatch) -> Examples:
    """Load the batch with the labels and groups of its rows; raises TitanicError where nothing can be learned."""
    baseline_field, baseline_value = BASELINE or ("line_number", None)
    rows = batch.passengers.values_list(LABEL, "is_holdout", "line_number", GROUP or "line_number", baseline_field)
    labels, is_holdout, lines, groups, baseline = zip(*rows, strict=True)
    # A row without a group is a group of its own.
    whole_groups = [group or f"line {line}" for group, line in zip(groups, lines, strict=True)]
    examples = Examples(
        matrix=features.services.matrix(batch),
        labels=np.array(labels, dtype=bool),
        groups=np.unique(whole_groups, return_inverse=True)[1].astype(np.int64),
        is_holdout=np.array(is_holdout, dtype=bool),
        baseline=np.array([value == baseline_value for value in baseline]) if BASELINE else None,
    )
    for part in (examples.holdout, examples.train):
        if len(set(part.labels.tolist())) < 2 or len(part.labels) < _FEWEST_ROWS:  # noqa: PLR2004 - both labels
            raise TitanicError(_("The dataset is too small, or all its rows have the same label: load more rows."))
    return examples


def _fit(spec: TrainingSpec, examples: Examples, *, report: Callable[[Progress], None]) -> TrainedModel:
    """Train in a process of its own, within the installation's limits."""
    limits = subprocess_training.Limits(settings.LONGEST_TRAINING_SECONDS, settings.LARGEST_TRAINING_BYTES)
    scheduler = settings.DASK_SCHEDULER
    try:
        return subprocess_training.fit(spec, examples, limits=limits, report=report, dask_scheduler=scheduler)
    except subprocess_training.TrainingError as error:
        raise TitanicError(_("The training failed: %(reason)s.") % {"reason": error}) from error


def _build_version(run: TrainingRun, trained: TrainedModel, *, seconds: float) -> ModelVersion:
    """Build the version, not yet registered, with its files stored."""
    cross_validation = structs.replace(trained.metrics.cross_validation, grouped_by=GROUP)
    metrics = structs.replace(trained.metrics, cross_validation=cross_validation)
    # Explanations compare with these rows; the same seed draws the same.
    train_rows = run.feature_batch.passengers.filter(is_holdout=False)
    lines = list(train_rows.values_list("line_number", flat=True))
    drawn = np.random.default_rng(run.seed).permutation(len(lines))[:BACKGROUND_ROWS]
    background = train_rows.filter(line_number__in=[lines[place] for place in drawn]).order_by("line_number")
    return ModelVersion(
        run=run,
        threshold=trained.threshold,
        metrics=msgspec.to_builtins(metrics),
        parameters={"algorithm": run.algorithm, "seed": run.seed, **trained.parameters},
        made_with={**_made_with(run.feature_batch), "seconds": round(seconds, 1)},
        definition_version=VERSION,
        onnx_file=content_store.store(trained.graph, suffix=".onnx"),
        pkl_file=content_store.store(trained.pickle, suffix=".pkl"),
        reference_file=content_store.store(trained.reference, suffix=".npz"),
        sha256=content_store.sha256_of(trained.graph),
        byte_count=len(trained.graph),
        golden_rows=trained.golden,
        background=[list(row) for row in background.values_list(*FIELD_NAMES)],
    )


def _made_with(batch: FeatureBatch) -> dict[str, str]:
    """List what a training depends on: data, code, libraries, machine."""
    try:
        command = ["git", "-C", str(settings.BASE_DIR), "rev-parse", "HEAD"]
        commit = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout.strip()  # noqa: S603 - no shell, and programs of this installation
    except (OSError, subprocess.TimeoutExpired):
        commit = ""
    return {
        "dataset sha256": batch.dataset.sha256,
        "batch checksum": batch.checksum,
        "definition": VERSION,
        "commit": settings.GIT_COMMIT or commit or "unknown",
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        **{name: version_of(name) for name in _LIBRARIES},
    }
