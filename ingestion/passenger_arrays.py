"""Read stored passengers as the typed columns that the features are derived from."""

from collections.abc import Iterator
from itertools import islice

from ingestion.contract import Columns
from ingestion.models import PassengerQuerySet
from ingestion.passenger import KEY
from ingestion.schema import FIELD_NAMES, columns_from_rows

CHUNK_ROWS = 20_000


def chunks(passengers: PassengerQuerySet) -> Iterator[tuple[list[str], Columns]]:
    """Yield keys and typed columns of `CHUNK_ROWS` passengers at a time, in bounded memory."""
    rows = passengers.values_list(KEY, *FIELD_NAMES).iterator(chunk_size=CHUNK_ROWS)
    while chunk := list(islice(rows, CHUNK_ROWS)):
        yield [row[0] for row in chunk], columns_from_rows([row[1:] for row in chunk])
