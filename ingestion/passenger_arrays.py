"""Stored passengers as the typed columns that the features are derived from."""

from collections.abc import Iterator
from typing import Any

from django.db import models

from ingestion.contract import Columns
from ingestion.passenger import FIELD_NAMES, to_columns

CHUNK_ROWS = 20_000


def chunks(rows: models.QuerySet[Any], *, key: str) -> Iterator[tuple[list[Any], Columns]]:
    """Keys and typed columns of ordered rows, `CHUNK_ROWS` at a time, in bounded memory."""
    names = (key, *FIELD_NAMES)
    chunk: list[dict[str, Any]] = []
    for row in rows.values(*names).iterator(chunk_size=CHUNK_ROWS):
        chunk.append(row)
        if len(chunk) == CHUNK_ROWS:
            yield [row[key] for row in chunk], to_columns(chunk)
            chunk = []
    if chunk:
        yield [row[key] for row in chunk], to_columns(chunk)
