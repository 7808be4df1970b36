"""The drain: move what waits in the stream to Postgres, and set aside what Postgres rejects."""

import logging
from collections.abc import Mapping, Sequence

from django.db import transaction

from core import audit, redis
from core.advisory_locks import AdvisoryLock, try_lock
from core.models import Action
from predictions.log import stream
from predictions.log.entries import StreamEntry
from predictions.log.postgres import store_entries
from predictions.models import DeadLetter

logger = logging.getLogger(__name__)

#: How often an entry may fail by its own fault before it becomes a dead letter.
MAX_ATTEMPTS = 3
#: The Redis hash that counts the failed attempts of each stream entry.
ATTEMPTS = "predictions:log:tries"


def drain() -> int:
    """Move what waits in the stream to Postgres and return the number of predictions.

    At least once, and idempotent: the row's id decides, and only what is committed leaves the stream. An entry that
    fails by its own fault stays for the next drains, and becomes a dead letter when it has failed too often.
    """
    moved, batches = 0, stream.read()
    while stream.backlog():
        with transaction.atomic():
            # More drainers would only repeat each other's work.
            if not try_lock(AdvisoryLock.LOG_WRITER):
                break
            # Read under the lock: what was read before it may have been erased since.
            batch = next(batches, None)
            if batch is None:
                break
            counts, failures = store_entries(batch)
            dead = set_aside([entry for entry in batch if entry.entry_id in failures], failures)
        acknowledged = {
            entry.entry_id: counts.get(entry.entry_id, 1)
            for entry in batch
            if entry.entry_id not in failures or entry.entry_id in dead
        }
        stream.delete_entries(acknowledged)
        moved += sum(acknowledged.values())
    return moved


def set_aside(entries: Sequence[StreamEntry], failures: Mapping[bytes, Exception]) -> set[bytes]:
    """Count a failed attempt of each entry, and make dead letters of those that have no attempt left.

    Returns the ids of the dead letters; the others are tried again with the next drain.
    """
    letters = []
    for entry in entries:
        if int(redis.client().hincrby(ATTEMPTS, entry.entry_id, 1)) < MAX_ATTEMPTS:
            continue
        redis.client().hdel(ATTEMPTS, entry.entry_id)
        error = str(failures[entry.entry_id])
        letters.append(DeadLetter(entry_id=entry.entry_id.decode(), raw=entry.raw, error=error, attempts=MAX_ATTEMPTS))
    # The entry may be there already: a drainer can be killed before it deletes it from the stream.
    DeadLetter.objects.bulk_create(letters, ignore_conflicts=True)
    for letter in letters:
        logger.error("entry %s of the prediction log became a dead letter: %s", letter.entry_id, letter.error)
    return {letter.entry_id.encode() for letter in letters}


def retry(letter: DeadLetter) -> bool:
    """Try once more to store a dead letter; deletes it when that works, and records the error when it does not."""
    _counts, failures = store_entries([StreamEntry(letter.entry_id.encode(), bytes(letter.raw))])
    with transaction.atomic():
        # Not the error, which may quote a person.
        audit.record(Action.REPEATED, letter, after={"stored": not failures})
        if not failures:
            letter.delete()
            return True
        letter.error = str(*failures.values())
        letter.attempts += 1
        letter.save(update_fields=["error", "attempts"])
    return False
