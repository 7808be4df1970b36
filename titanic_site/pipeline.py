"""The one place where the steps are strung together: dataset, features, model, each only if it is missing."""

import logging

import features.services
import training.services
from features.models import FeatureBatch
from ingestion import services as ingestion_services
from ingestion.models import Dataset, Source
from titanic_site.lib.jobs import Job
from training.models import ModelVersion

logger = logging.getLogger(__name__)


def fetch_sources() -> list[Dataset]:
    """Load what is new at every enabled source, and carry each new table through to the gate's verdict."""
    fetched = []
    for source in Source.objects.filter(is_enabled=True):
        dataset = ingestion_services.queue_changed(source)
        if dataset is None:
            logger.info("nothing new at %s", source)
            continue
        ingestion_services.ingest(dataset)
        fetched.append(dataset)
    if fetched:
        run()
    return fetched


def run() -> ModelVersion:
    """Bring the newest data into a judged model, beginning at the first step that has not succeeded."""
    return _version_of(_batch_of(_dataset()))


def retrain() -> ModelVersion:
    """Train anew from the newest features, whether or not they were trained on before."""
    return _train(_batch_of(_dataset()))


def next_step() -> Job:
    """The first step that has not succeeded, queued; training again when all have."""
    dataset = Dataset.objects.labelled().first()
    if dataset is None:
        return ingestion_services.queue_ingest(uri=ingestion_services.default_source().uri)
    batch = FeatureBatch.objects.succeeded().filter(dataset=dataset).first()
    if batch is None:
        return features.services.queue_build(dataset=dataset)
    return training.services.queue_run(batch=batch)


def _dataset() -> Dataset:
    found = Dataset.objects.labelled().first()
    if found is not None:
        return found
    source = ingestion_services.default_source()
    dataset = ingestion_services.queue_changed(source)
    assert dataset is not None  # nothing has succeeded yet, so everything is new
    ingestion_services.ingest(dataset)
    return dataset


def _batch_of(dataset: Dataset) -> FeatureBatch:
    found = FeatureBatch.objects.succeeded().filter(dataset=dataset).first()
    if found is not None:
        return found
    batch = features.services.queue_build(dataset=dataset)
    features.services.build(batch)
    return batch


def _version_of(batch: FeatureBatch) -> ModelVersion:
    found = ModelVersion.objects.filter(run__feature_batch=batch, gate__isnull=False).first()
    return found or _train(batch)


def _train(batch: FeatureBatch) -> ModelVersion:
    run = training.services.queue_run(batch=batch)
    training.services.train(run)
    return ModelVersion.objects.get(run=run)
