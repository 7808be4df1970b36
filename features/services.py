"""Making features of a dataset, and making them again when Redis has lost them."""

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from django.db import transaction
from django.utils.translation import gettext as _
from numpy.typing import NDArray

from core.advisory_locks import AdvisoryLock, lock
from core.errors import Conflict, TitanicError
from core.jobs import State
from features import store
from features.definition import FEATURES, VERSION, Matrix, derive
from features.models import FeatureBatch
from ingestion.models import Dataset
from ingestion.passenger import KEY, LABEL
from ingestion.passenger_arrays import CHUNK_ROWS, chunks

if TYPE_CHECKING:
    from features.profile import Labels

logger = logging.getLogger(__name__)

#: The key of the advisory lock under which the pointer to the current batch moves; a batch's own is its id.
_POINTER = 0

T = TypeVar("T")


def queue_build(*, dataset: Dataset) -> FeatureBatch:
    """A queued batch of the dataset's features."""
    if dataset.state != State.SUCCEEDED:
        raise Conflict(_("%(dataset)s is not loaded: ingest it first.") % {"dataset": dataset})
    if dataset.archived_at:
        raise Conflict(_("The rows of %(dataset)s are archived: choose a newer dataset.") % {"dataset": dataset})
    return FeatureBatch.objects.create(dataset=dataset)


def build(batch: FeatureBatch) -> None:
    """Derive the dataset's features, write and verify them, and make the batch the current one."""
    # The profile's column library stays out of the web process.
    from features.profile import FeatureProfile

    with batch.running():
        batch.dataset_revision = batch.dataset.revision
        row_count = batch.passengers.count()
        profile = FeatureProfile()
        labels = _labels(batch) if batch.dataset.has_label else itertools.repeat(None)
        writer, done = store.Writer(batch.pk), 0
        for (ids, matrix), chunk_labels in zip(_derived(batch), labels, strict=False):
            writer.add(ids, matrix)
            profile.add(matrix, chunk_labels)
            done += len(ids)
            batch.report(done / max(row_count, 1), count=done)
        meta = writer.finish()
        store.publish(batch.pk, meta)
        with transaction.atomic():
            lock(AdvisoryLock.FEATURE_BATCH, key=_POINTER)
            batch.lock_row()
            FeatureBatch.objects.current().update(is_current=False)
            batch.definition_version, batch.row_count, batch.checksum = VERSION, meta.row_count, meta.checksum
            batch.is_current, batch.profile = True, profile.result()
            kept = ["dataset_revision", "definition_version", "row_count", "checksum", "is_current", "profile"]
            batch.save(update_fields=kept)
            batch.complete()
        sync_pointer()


def matrix(batch: FeatureBatch) -> Matrix:
    """The batch's features in the dataset's order, shape (n, 11); a batch that Redis has lost is rebuilt first."""
    return _read(batch, lambda: store.matrix(batch.pk))


def rows(batch: FeatureBatch, passenger_ids: Sequence[str]) -> Matrix:
    """Some passengers' features in one round trip, shape (n, 11); raises MissingPassenger."""
    return _read(batch, lambda: store.rows(batch.pk, passenger_ids))


def sample(batch: FeatureBatch, *, count: int, seed: int, among: NDArray[np.int64] | None = None) -> Matrix:
    """Up to `count` of the batch's rows, or of the rows at the places `among`; the same seed draws the same."""
    return _read(batch, lambda: store.sample(batch.pk, count=count, seed=seed, among=among))


def of_passengers(passenger_ids: Sequence[str]) -> Matrix:
    """Some passengers' features in the current batch in one round trip, shape (n, 11); raises MissingPassenger."""
    try:
        return store.current_rows(passenger_ids)
    except (store.MissingBatch, store.CorruptBatch):
        batch = FeatureBatch.objects.current().first()
        if batch is None:
            raise Conflict(_("There is no feature batch yet: build one first.")) from None
        restore(batch)
        sync_pointer()
        return store.current_rows(passenger_ids)


def of_passenger(passenger_id: str) -> dict[str, float | None]:
    """One passenger's features in the current batch, by name; unknown is None. Raises MissingPassenger."""
    row = of_passengers([passenger_id])[0].tolist()
    return {name: None if value != value else value for name, value in zip(FEATURES, row, strict=True)}


def repair() -> None:
    """Bring Redis to what Postgres says: the current batch is there, whole, and is the one that readers get."""
    batch = FeatureBatch.objects.current().first()
    if batch is None:
        return
    if not store.is_complete(batch.pk, checksum=batch.checksum):
        restore(batch)
    sync_pointer()


def restore(batch: FeatureBatch) -> None:
    """Write a batch that Redis has lost again, from Postgres, and arrive at the same checksum; one at a time."""
    with batch_lock(batch):
        if _is_sound(batch):
            return
        logger.warning("%s is not in Redis: rebuilding it", batch)
        if batch.dataset.archived_at:
            message = _(
                "%(batch)s is gone and cannot be rebuilt: the rows of %(dataset)s are archived. Build a new one."
            )
            raise Conflict(message % {"batch": batch, "dataset": batch.dataset})
        writer = store.Writer(batch.pk)
        for ids, derived in _derived(batch):
            writer.add(ids, derived)
        meta = writer.finish()
        if meta.checksum != batch.checksum:
            message = _("%(batch)s cannot be rebuilt: its rows or the definition have changed. Build a new batch.")
            raise TitanicError(message % {"batch": batch})
        store.publish(batch.pk, meta)
        FeatureBatch.objects.filter(pk=batch.pk).update(expired_at=None)


def _read(batch: FeatureBatch, read: Callable[[], T]) -> T:
    try:
        return read()
    except (store.MissingBatch, store.CorruptBatch):
        restore(batch)
        return read()


def _is_sound(batch: FeatureBatch) -> bool:
    """Whether somebody else has written it by now; read in full, because a wrong byte may be why we are here."""
    try:
        found = store.meta(batch.pk)
        store.verify(found)
    except (store.MissingBatch, store.CorruptBatch):
        return False
    return found.checksum == batch.checksum


def _derived(batch: FeatureBatch) -> Iterator[tuple[list[str], Matrix]]:
    return ((ids, derive(columns)) for ids, columns in chunks(batch.passengers, key=KEY))


def _labels(batch: FeatureBatch) -> Iterator["Labels"]:
    """What happened to the same passengers, in the same chunks."""
    found = batch.passengers.values_list(LABEL, flat=True).iterator(chunk_size=CHUNK_ROWS)
    while some := list(itertools.islice(found, CHUNK_ROWS)):
        yield np.array(some, dtype=np.float64)


def sync_pointer() -> None:
    """Let the pointer in Redis follow Postgres, whichever of several builders comes last."""
    with transaction.atomic():
        lock(AdvisoryLock.FEATURE_BATCH, key=_POINTER)
        batch = FeatureBatch.objects.current().first()
        if batch is not None:
            store.set_current(batch.pk)


@contextmanager
def batch_lock(batch: FeatureBatch) -> Iterator[None]:
    """One healer at a time: those who wait find the work done."""
    with transaction.atomic():
        lock(AdvisoryLock.FEATURE_BATCH, key=batch.pk)
        yield
