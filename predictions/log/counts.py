"""Count stored predictions, in the transaction that stores them: no crash, restart or second delivery parts the two."""

from collections.abc import Mapping
from typing import NamedTuple

from django.db import connection

from core.advisory_locks import AdvisoryLock, lock
from predictions.models import PredictionCount


class Labels(NamedTuple):
    """What predictions are counted by."""

    model_version: int
    predicted: bool
    source: str


_ADD = f"""
    INSERT INTO {PredictionCount._meta.db_table} AS stored (model_version, predicted, source, count, counted_at)
    VALUES (%s, %s, %s, %s, now())
    ON CONFLICT (model_version, predicted, source)
    DO UPDATE SET count = stored.count + excluded.count, counted_at = excluded.counted_at
"""  # noqa: S608 - names of tables and columns are the code's own


def add(numbers: Mapping[Labels, int]) -> None:
    """Add to the counts, at the end of the caller's transaction: others wait until it is committed."""
    if not numbers:
        return
    # Two transactions that add to the same counts in another order would wait for each other.
    lock(AdvisoryLock.PREDICTION_COUNTS)
    with connection.cursor() as cursor:
        cursor.executemany(_ADD, [(*labels, number) for labels, number in numbers.items()])
