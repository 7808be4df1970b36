"""Each dataset's passengers are a partition of one table.

Rows are copied into a detached table, and its indexes are built once, over all of them; attaching it makes the dataset
visible in one step. Measured: docs/decisions/0005. Archiving a dataset drops its partition.
"""

from django.db import connection

from ingestion.models import Dataset, Passenger

# The indexes of a million rows take half the time that they take with the default of 64 MB.
_INDEX_MEMORY = "256MB"
_TABLE = Passenger._meta.db_table


def name_of(dataset: Dataset) -> str:
    """Return the name of the partition's table."""
    return f"{_TABLE}_{dataset.pk}"


def create(dataset: Dataset) -> str:
    """Create the dataset's empty table, not yet attached, and return its name."""
    name = name_of(dataset)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {name}")
        # With this check, attaching needs no scan of all rows.
        cursor.execute(
            f"CREATE TABLE {name} (LIKE {_TABLE} INCLUDING DEFAULTS INCLUDING CONSTRAINTS,"
            f" CHECK (dataset_id = {int(dataset.pk)}))"
        )
    return name


def attach(dataset: Dataset) -> None:
    """Build the indexes and make the rows visible with the transaction's commit."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL maintenance_work_mem = '{_INDEX_MEMORY}'")
        cursor.execute(f"ALTER TABLE {_TABLE} ATTACH PARTITION {name_of(dataset)} FOR VALUES IN ({int(dataset.pk)})")


def drop(dataset: Dataset) -> None:
    """Drop the dataset's rows, if there are any."""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {name_of(dataset)}")
