"""The format of the prediction log: a prediction is a JSON array on a line of its own, as COPY takes it."""

from datetime import datetime
from typing import NamedTuple, cast
from uuid import UUID

import msgspec

from ingestion.contract import Value
from ingestion.schema import FIELD_NAMES


# An entry is never part of a reference cycle: untracked, tens of thousands of them cost the garbage collector nothing.
class LogEntry(msgspec.Struct, array_like=True, gc=False):
    """A prediction on its way into Postgres; `Entry` adds the passenger's fields, and more."""

    id: str
    model_version: int
    probability: float
    threshold: float
    predicted: bool
    source: str
    scoring_job_id: int | None
    created_at: datetime


#: A prediction with its passenger, in the order of `COLUMNS`.
Entry = cast(
    "type[LogEntry]",
    msgspec.defstruct(
        "Entry",
        [
            *((name, Value) for name in FIELD_NAMES),
            # The lines of earlier versions end here: what is new comes last and has a default.
            ("reference", str | None, None),
            ("anonymous", bool, False),
            ("request_id", UUID | None, None),
        ],
        bases=(LogEntry,),
        array_like=True,
        # The line of a later version is not stored in part.
        forbid_unknown_fields=True,
        gc=False,
    ),
)
COLUMNS: tuple[str, ...] = Entry.__struct_fields__

#: Predictions as lines of JSON.
encode = msgspec.json.Encoder().encode_lines
#: One line's prediction; raises msgspec.DecodeError.
decode = msgspec.json.Decoder(Entry).decode


def complete(lines: bytes) -> bytes:
    """Add the columns that lines of an earlier version lack; a line that cannot be read stays as it is."""
    completed = []
    for line in lines.splitlines(keepends=True):
        try:
            completed.append(encode([decode(line)]))
        except msgspec.DecodeError:
            completed.append(line)
    return b"".join(completed)


class StreamEntry(NamedTuple):
    """An entry of the stream: its id in Redis, and the lines of one or more predictions."""

    entry_id: bytes
    raw: bytes


def count_predictions(raw: bytes) -> int:
    """Count the predictions of a stream entry; raises ValueError when it does not hold predictions."""
    count = raw.count(b"\n")
    if not (raw.startswith(b'["') and raw.endswith(b"]\n") and raw.count(b']\n["') == count - 1):
        message = "it does not hold predictions"
        raise ValueError(message)
    return count
