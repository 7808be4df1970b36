"""Making features of a dataset, and making them again when Redis has lost them."""

import logging

from django.db import transaction
from django.utils.translation import gettext as _

from features import store
from features.definition import FEATURES, VERSION, Matrix, derive
from features.models import FeatureBatch
from ingestion.columns import chunks
from ingestion.models import Dataset
from ingestion.passenger import KEY
from titanic_site.lib.errors import Conflict, TitanicError
from titanic_site.lib.jobs import State

logger = logging.getLogger(__name__)


def queue_build(*, dataset: Dataset) -> FeatureBatch:
    """A queued batch of the dataset's features."""
    if dataset.state != State.SUCCEEDED:
        raise Conflict(_("%(dataset)s is not loaded: ingest it first.") % {"dataset": dataset})
    if dataset.archived_at:
        raise Conflict(_("The rows of %(dataset)s are archived: choose a newer dataset.") % {"dataset": dataset})
    return FeatureBatch.objects.create(dataset=dataset)


def build(batch: FeatureBatch) -> None:
    """Derive the dataset's features, write and verify them, and make the batch the current one."""
    with batch.running():
        batch.dataset_revision = batch.dataset.revision
        row_count = batch.passengers.count()
        meta = _write(batch, row_count=row_count)
        with transaction.atomic():
            batch.hold()
            FeatureBatch.objects.current().update(is_current=False)
            batch.definition_version, batch.row_count, batch.checksum = VERSION, meta.row_count, meta.checksum
            batch.is_current = True
            batch.save(update_fields=["dataset_revision", "definition_version", "row_count", "checksum", "is_current"])
        store.switch(batch.pk)


def matrix(batch: FeatureBatch) -> Matrix:
    """The batch's features in the dataset's order, shape (n, 11); a batch that Redis has lost is rebuilt first."""
    try:
        return store.matrix(batch.pk)
    except (store.MissingBatch, store.CorruptBatch):
        restore(batch)
        return store.matrix(batch.pk)


def of_passenger(passenger_id: str) -> dict[str, float | None]:
    """One passenger's features in the current batch, by name; unknown is None. Raises MissingPassenger."""
    row = store.rows(_current_id(), [passenger_id])[0].tolist()
    return {name: None if value != value else value for name, value in zip(FEATURES, row, strict=True)}


def restore(batch: FeatureBatch) -> None:
    """Write a batch that Redis has lost again, from Postgres, and arrive at the same checksum."""
    logger.warning("%s is not in Redis: rebuilding it", batch)
    if batch.dataset.archived_at:
        message = _("%(batch)s is gone and cannot be rebuilt: the rows of %(dataset)s are archived. Build a new batch.")
        raise Conflict(message % {"batch": batch, "dataset": batch.dataset})
    meta = _write(batch, row_count=batch.row_count or 0)
    if meta.checksum != batch.checksum:
        store.delete(batch.pk)
        message = _("%(batch)s cannot be rebuilt: its rows or the definition have changed. Build a new batch.")
        raise TitanicError(message % {"batch": batch})


def _current_id() -> int:
    try:
        current = store.current()
        store.meta(current)
    except (store.MissingBatch, store.CorruptBatch):
        batch = FeatureBatch.objects.current().first()
        if batch is None:
            raise Conflict(_("There is no feature batch yet: build one first.")) from None
        restore(batch)
        store.switch(batch.pk)
        return batch.pk
    return current


def _write(batch: FeatureBatch, *, row_count: int) -> store.Meta:
    """Write all features of the batch's passengers and read them back."""
    writer = store.Writer(batch.pk, row_count=row_count)
    done = 0
    for ids, columns in chunks(batch.passengers, key=KEY):
        writer.add(ids, derive(columns))
        done += len(ids)
        if batch.state == State.RUNNING:
            batch.report(done / max(row_count, 1), count=done)
    meta = writer.close()
    if len(store.matrix(batch.pk)) != row_count:
        raise store.CorruptBatch(f"batch {batch.pk} came back with another number of rows")
    return meta
