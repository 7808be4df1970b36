"""The one place where the steps are connected: dataset, features, model, each only if it is missing."""

import logging
from collections.abc import Collection

from django.db.models import Q

import features.services
import training.services
from core.errors import TitanicError
from core.jobs import OPEN_STATES, Cancelled, Job, NotClaimed
from features.models import FeatureBatch
from ingestion import services, sources
from ingestion.models import Dataset, Source
from training.models import ModelVersion, Stage

logger = logging.getLogger(__name__)


def fetch(source: Source) -> list[Dataset]:
    """Load what is new at a source, and take the newest loaded table through to the gate's verdict."""
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
    if any(dataset.has_label for dataset in fetched):
        run()
    return fetched


def run() -> ModelVersion:
    """Take the newest data to a model with a verdict, beginning at the first step that has not succeeded."""
    batch = _batch_of(_dataset())
    version = ModelVersion.objects.filter(run__feature_batch=batch, gate__isnull=False).first()
    return version or _train(batch)


def retrain() -> ModelVersion:
    """Train on the newest features, whether or not a model was trained on them before."""
    return _train(_batch_of(_dataset()))


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


def expire_features() -> list[FeatureBatch]:
    """Expire feature batches in Redis that no champion or challenger was trained on."""
    in_use = ModelVersion.objects.filter(stage__in=(Stage.CHAMPION, Stage.CHALLENGER))
    return features.services.expire_old(in_use=in_use.values_list("run__feature_batch", flat=True))


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
