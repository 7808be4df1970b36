"""Build the features of a dataset, read them, and rebuild what Redis has lost."""

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_noop

from core.advisory_locks import AdvisoryLock, lock
from core.errors import Conflict, TitanicError
from core.jobs import State
from core.messages import Message as _
from features.definition import FEATURES, VERSION, Matrix, derive
from features.models import FeatureBatch
from features.store import CorruptBatch, MissingBatch, StoredBatch, Writer
from ingestion.models import Dataset
from ingestion.passenger import LABEL

logger = logging.getLogger(__name__)

#: The key of the advisory lock under which another batch becomes the current one; a batch's own is its id.
_CURRENT = 0


@dataclass(frozen=True)
class PassengerFeatures:
    """One passenger's features by name, None for unknown, and the batch they come from."""

    batch: FeatureBatch
    features: dict[str, float | None]


def queue_build(*, dataset: Dataset) -> FeatureBatch:
    """Queue a batch of the dataset's features; raises Conflict."""
    if dataset.state != State.SUCCEEDED:
        raise Conflict(_("%(dataset)s is not loaded: ingest it first.") % {"dataset": dataset})
    if dataset.archived_at:
        raise Conflict(_("The rows of %(dataset)s are archived: choose a newer dataset.") % {"dataset": dataset})
    return FeatureBatch(dataset=dataset).queue_new()


def build(batch: FeatureBatch) -> None:
    """Derive the dataset's features, write and verify them, and make the batch the current one."""
    # The profile's column library stays out of the web process.
    from features.profile import profile_of

    with batch.running():
        batch.begin_stage(gettext_noop("Derive features"))
        batch.dataset_revision = batch.dataset.revision
        row_count = batch.passengers.count()
        writer, done = Writer(), 0
        for ids, derived in _derived(batch):
            writer.add(ids, derived)
            done += len(ids)
            batch.report(done / max(row_count, 1), count=done)
        batch.begin_stage(gettext_noop("Verify, profile and publish"))
        writer.draft.verify()
        labels = batch.passengers.values_list(LABEL, flat=True).iterator() if batch.dataset.has_label else None
        profile = profile_of(writer.draft.matrix(), None if labels is None else np.fromiter(labels, np.float64))
        batch.definition_version, batch.row_count, batch.checksum = VERSION, done, writer.draft.checksum
        # Saved before it is published: if the build ends in between, retention knows the keys.
        batch.save(update_fields=["dataset_revision", "definition_version", "row_count", "checksum"])
        writer.publish(batch.pk)
        with transaction.atomic():
            lock(AdvisoryLock.FEATURE_BATCH, key=_CURRENT)
            batch.lock_row()
            FeatureBatch.objects.current().update(is_current=False)
            batch.is_current, batch.profile = True, profile
            batch.save(update_fields=["is_current", "profile"])
            batch.complete()


def matrix(batch: FeatureBatch) -> Matrix:
    """Read a batch's features in the dataset's order, shape (n, number of FEATURES)."""
    return _read(batch, StoredBatch.matrix)


def current_batch() -> FeatureBatch:
    """Return the batch that look-ups and trainings read; raises Conflict before there is one."""
    batch = FeatureBatch.objects.current().first()
    if batch is None:
        raise Conflict(_("There is no feature batch yet: build one first."))
    return batch


def look_up(passenger_id: str) -> PassengerFeatures:
    """Look a passenger up in the current batch; raises MissingPassenger, Conflict."""
    batch = current_batch()
    row = _read(batch, lambda stored: stored.row(passenger_id)).tolist()
    features = {name: None if value != value else value for name, value in zip(FEATURES, row, strict=True)}
    return PassengerFeatures(batch, features)


def repair() -> None:
    """Rebuild the current batch if Redis has lost it."""
    batch = FeatureBatch.objects.current().first()
    if batch is not None and not batch.stored.is_complete():
        restore(batch)


def restore(batch: FeatureBatch) -> None:
    """Write a batch that Redis has lost again, from PostgreSQL, with the same checksum; one process at a time."""
    with transaction.atomic():
        lock(AdvisoryLock.FEATURE_BATCH, key=batch.pk)
        # Another process may have written it while this one waited. A wrong byte may be the reason: all are read.
        try:
            batch.stored.verify()
        except (MissingBatch, CorruptBatch) as error:
            logger.warning("%s has to be rebuilt: %s", batch, error)
        else:
            return
        if batch.dataset.archived_at:
            message = _(
                "%(batch)s is gone and cannot be rebuilt: the rows of %(dataset)s are archived. Build a new one."
            )
            raise Conflict(message % {"batch": batch, "dataset": batch.dataset})
        writer = Writer()
        for ids, derived in _derived(batch):
            writer.add(ids, derived)
        writer.draft.verify()
        if writer.draft.checksum != batch.checksum:
            message = _("%(batch)s cannot be rebuilt: its rows or the definition have changed. Build a new batch.")
            raise TitanicError(message % {"batch": batch})
        writer.publish(batch.pk)
        FeatureBatch.objects.filter(pk=batch.pk).update(expired_at=None)


def expire_old(*, in_use: Collection[int]) -> list[FeatureBatch]:
    """Expire the batches in Redis that are not current, not among the newest and not `in_use`, and return them.

    Such a batch is rebuilt when it is read.
    """
    expired = list(FeatureBatch.objects.expirable(in_use=in_use, keep_count=settings.FEATURE_BATCHES_KEPT))
    for batch in expired:
        batch.stored.expire()
        # By query: a build saves other columns of the row.
        FeatureBatch.objects.filter(pk=batch.pk).update(expired_at=timezone.now())
    return expired


def _read(batch: FeatureBatch, read: Callable[[StoredBatch], Matrix]) -> Matrix:
    """Read from the store; a batch that is not there, or not whole, is rebuilt first."""
    try:
        return read(batch.stored)
    except (MissingBatch, CorruptBatch):
        restore(batch)
        return read(batch.stored)


def _derived(batch: FeatureBatch) -> Iterator[tuple[list[str], Matrix]]:
    return ((ids, derive(columns)) for ids, columns in batch.passengers.chunks())
