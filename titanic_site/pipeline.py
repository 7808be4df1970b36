"""The one place where the steps are connected: dataset, features, model, each only if it is missing."""

import logging
from collections.abc import Collection

import msgspec
from django.db.models import Q

import features.services
import training.services
from core.errors import TitanicError
from core.jobs import OPEN_STATES, Cancelled, Job, NotClaimed
from features.models import FeatureBatch
from ingestion import services, sources
from ingestion.models import Dataset, Source
from monitoring.models import PerformanceCheck, Retraining
from monitoring.retraining import recorded
from training.apps import LiveAccuracy
from training.metrics import Estimate
from training.models import ModelVersion, Stage, TrainingRun

logger = logging.getLogger(__name__)


def fetch(source: Source) -> list[Dataset]:
    """Load what is new at a source, and take the newest loaded table through to the gate's verdict."""
    fetched = _load_new(source)
    if any(dataset.has_label for dataset in fetched):
        run()
    return fetched


def run() -> ModelVersion:
    """Take the newest data to a model with a verdict, beginning at the first step that has not succeeded."""
    batch = _batch_of(_dataset())
    version = ModelVersion.objects.filter(run__feature_batch=batch, gate__isnull=False).first()
    return version or _train(batch)


def retrain(retraining: Retraining) -> None:
    """Load what is new at the sources and train on it; nothing where the last training had the same features."""
    with recorded(retraining):
        for source in Source.objects.all():
            try:
                _load_new(source)
            except TitanicError as error:
                # Recorded on the source; it stops no other.
                logger.warning("%s was not checked: %s", source, error)
        batch = _batch_of(_dataset())
        last = TrainingRun.objects.succeeded().select_related("feature_batch").first()
        if last is not None and _content(last.feature_batch) == _content(batch):
            logger.info("no retraining: %s has the features that %s was trained on", batch, last)
            return
        retraining.run = training.services.queue_run(batch=batch)
        retraining.save(update_fields=["run"])
        training.services.train(retraining.run)


def next_step() -> Job:
    """Queue the first step that has not succeeded; a training when all have."""
    dataset = Dataset.objects.labelled().first()
    if dataset is None:
        return services.queue_source(sources.default())
    batch = FeatureBatch.objects.succeeded().filter(dataset=dataset).first()
    if batch is None:
        return features.services.queue_build(dataset=dataset)
    return training.services.queue_run(batch=batch)


def datasets_in_use() -> Collection[int]:
    """Find the ids of datasets whose rows a served or candidate model, the current features or an open job need."""
    needed = (
        Q(is_current=True)
        | Q(state__in=OPEN_STATES)
        | Q(training_runs__state__in=OPEN_STATES)
        | Q(training_runs__version__stage__in=(Stage.CHAMPION, Stage.CHALLENGER, Stage.CANDIDATE))
    )
    return FeatureBatch.objects.filter(needed).values_list("dataset", flat=True)


def live_accuracy(versions: Collection[int]) -> dict[int, LiveAccuracy]:
    """Find the accuracy on live outcomes that was measured last, by the version's number."""
    return {
        check.version.version: LiveAccuracy(
            msgspec.convert(vars(check)["measured"], Estimate), check.outcome_count or 0, check.get_absolute_url()
        )
        for check in PerformanceCheck.objects.newest_of(versions)
        if check.version is not None
    }


def expire_features() -> list[FeatureBatch]:
    """Expire feature batches in Redis that no champion or challenger was trained on."""
    in_use = ModelVersion.objects.filter(stage__in=(Stage.CHAMPION, Stage.CHALLENGER))
    return features.services.expire_old(in_use=in_use.values_list("run__feature_batch", flat=True))


def _load_new(source: Source) -> list[Dataset]:
    fetched = []
    for dataset in services.queue_changed(source):
        try:
            services.ingest(dataset)
        except services.Unchanged as unchanged:
            logger.info("%s", unchanged)
            dataset.delete()
        except (TitanicError, Cancelled, NotClaimed) as error:
            # Recorded on its row; it stops no other.
            logger.warning("%s was not loaded: %s", dataset, error)
        else:
            fetched.append(dataset)
    if not fetched:
        logger.info("nothing new at %s", source)
    return fetched


def _content(batch: FeatureBatch) -> tuple[str, str]:
    return batch.checksum, batch.definition_version


def _dataset() -> Dataset:
    newest = Dataset.objects.labelled().first()
    if newest is not None:
        return newest
    dataset = services.queue_source(sources.default())
    services.ingest(dataset)
    return dataset


def _batch_of(dataset: Dataset) -> FeatureBatch:
    newest = FeatureBatch.objects.succeeded().filter(dataset=dataset).first()
    if newest is not None:
        return newest
    batch = features.services.queue_build(dataset=dataset)
    features.services.build(batch)
    expire_features()
    return batch


def _train(batch: FeatureBatch) -> ModelVersion:
    run = training.services.queue_run(batch=batch)
    training.services.train(run)
    return ModelVersion.objects.get(run=run)
