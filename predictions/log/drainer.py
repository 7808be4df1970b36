"""The drain: move what waits in the stream to Postgres."""

from django.db import transaction

from core.advisory_locks import AdvisoryLock, try_lock
from predictions.log import dead_letters, stream
from predictions.log.postgres import store_entries


def drain() -> int:
    """Move what waits in the stream to Postgres and return the number of predictions.

    At least once, and idempotent: the row's id decides, and only what is committed leaves the stream. An entry that
    fails by its own fault stays for the next drains, and becomes a dead letter when it has failed too often.
    """
    moved = 0
    for batch in stream.batches():
        with transaction.atomic():
            # More drainers would only repeat each other's work.
            if not try_lock(AdvisoryLock.LOG_WRITER):
                break
            counts, failures = store_entries(batch)
            dead = dead_letters.set_aside([entry for entry in batch if entry.entry_id in failures], failures)
        acknowledged = {
            entry.entry_id: counts.get(entry.entry_id, 1)
            for entry in batch
            if entry.entry_id not in failures or entry.entry_id in dead
        }
        stream.delete_entries(acknowledged)
        moved += sum(acknowledged.values())
    return moved
