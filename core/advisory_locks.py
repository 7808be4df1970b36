"""The advisory locks in PostgreSQL, each with a number of its own: what one process at a time may do."""

from enum import IntEnum

from django.db import connection


class AdvisoryLock(IntEnum):
    """What a lock guards. Some are taken together with a key: a row's id."""

    MODEL_STAGES = 4_104_001
    FEATURE_BATCH = 4_104_002
    LOG_PARTITIONS = 4_104_003
    #: Uploaded files and who has them, before any of their rows; never while a file is written.
    UPLOADS = 4_104_004
    FIRST_ADMIN = 4_104_005
    LOG_WRITER = 4_104_006
    ALERTS = 4_104_007
    #: Taken last: it is held until the predictions that are counted are committed.
    PREDICTION_COUNTS = 4_104_008
    FILE_REPORTS = 4_104_009
    #: Who may administer, so that of two who take the right from each other one keeps it.
    ADMINISTRATORS = 4_104_010
    #: Migrations and the first champion: of hosts that start at once on one database, one makes them.
    START = 4_104_011


def lock(name: AdvisoryLock, *, key: int | None = None) -> None:
    """Wait for the lock and hold it until the caller's transaction ends."""
    # Two numbers of 32 bits are another lock than one of 64.
    numbers = [name.value] if key is None else [name.value, key % 2**31]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_xact_lock({', '.join(['%s'] * len(numbers))})", numbers)


def try_lock(name: AdvisoryLock) -> bool:
    """Take the lock until the caller's transaction ends, or return False at once where another holds it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [name.value])
        return bool(cursor.fetchone()[0])
