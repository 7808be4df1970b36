"""Look a prediction up by its id: in Postgres or, in the seconds before the drain, in the stream."""

from contextlib import suppress
from uuid import UUID

import msgspec
from django.shortcuts import get_object_or_404

from core.redis import RedisUnavailable
from predictions.log import stream
from predictions.log.entries import COLUMNS, decode
from predictions.models import Prediction, milliseconds

# How far (milliseconds) a prediction's id and its stream entry's may be apart, by two clocks: before and after.
_BEFORE, _AFTER = 5_000, 60_000


def get(prediction_id: UUID) -> Prediction:
    """Return a logged prediction; raises Http404."""
    stored = Prediction.objects.filter(pk=prediction_id)
    if prediction := stored.first():
        return prediction
    # Only the few thousand entries that were appended when the prediction was made.
    made_at, wanted = milliseconds(prediction_id), str(prediction_id).encode()
    window = stream.read(first=max(made_at - _BEFORE, 0), last=made_at + _AFTER)
    lines: list[bytes] = []
    with suppress(*RedisUnavailable):
        # Most entries are ruled out without being decoded.
        candidates = [entry.raw for batch in window for entry in batch if wanted in entry.raw]
        lines = [line for raw in candidates for line in raw.splitlines() if wanted in line]
    for line in lines:
        with suppress(msgspec.DecodeError):
            entry = decode(line)
            if entry.id == str(prediction_id):
                values = dict(zip(COLUMNS, msgspec.structs.astuple(entry), strict=True))
                return Prediction(**values | {"id": prediction_id})
    # It may have been drained while the stream was searched.
    return get_object_or_404(stored)
