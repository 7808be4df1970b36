"""Erase predictions that Postgres does not have: those in the stream, and those in dead letters."""

import msgspec

from predictions.log import stream
from predictions.log.entries import decode
from predictions.models import DeadLetter


def erase_unstored(field: str, value: str) -> set[str]:
    """Erase the predictions whose field has this value, and return their ids; the caller holds the log's lock.

    A line that cannot be read is erased where the value occurs in it; it stands for its id.
    """
    erased: set[str] = set()
    for batch in stream.read():
        for entry in batch:
            other_lines = _other_lines(entry.raw, field, value, erased)
            if other_lines is not None:
                stream.replace(entry, other_lines)
    for letter in DeadLetter.objects.select_for_update():
        other_lines = _other_lines(bytes(letter.raw), field, value, erased)
        if other_lines:
            # The error of Postgres quotes the line it rejected.
            letter.raw, letter.error = b"".join(other_lines), ""
            letter.save(update_fields=["raw", "error"])
        elif other_lines is not None:
            letter.delete()
    return erased


def _other_lines(raw: bytes, field: str, value: str, erased: set[str]) -> list[bytes] | None:
    """Return the lines to keep and add the ids of the others to `erased`; None where all lines are kept."""
    encoded = msgspec.json.encode(value)
    # Most entries are ruled out without being decoded.
    if encoded not in raw:
        return None
    lines = raw.splitlines(keepends=True)
    kept = []
    for line in lines:
        try:
            entry = decode(line)
        except msgspec.DecodeError:
            is_erased, key = encoded in line, line.decode(errors="replace")
        else:
            is_erased, key = getattr(entry, field) == value, entry.id
        if is_erased:
            erased.add(key)
        else:
            kept.append(line)
    return kept if len(kept) < len(lines) else None
