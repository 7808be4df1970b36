"""A person's predictions: find them by id, reference or a field of free text, download them, erase them."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from core import audit
from core.advisory_locks import AdvisoryLock, lock
from core.errors import Invalid
from core.models import Action
from ingestion import contract, schema
from ingestion.validation_messages import by_field
from predictions import log
from predictions.models import REFERENCE, Outcome, Prediction, PredictionQuerySet, ShadowScore

ID = "id"
#: What predictions are found by: their id, the caller's own id, and each field of free text, such as a name.
FIELDS = {
    ID: contract.Field(ID, "text", is_required=True, max_length=36),
    **{field.name: replace(field, is_required=True) for field in (REFERENCE, *schema.FIELDS) if field.kind == "text"},
}


def find(field: str, text: str) -> PredictionQuerySet:
    """Select the predictions whose field has exactly this value; raises Invalid, and stores what waits before."""
    value = _parse(field, text)
    log.drain()
    return Prediction.objects.filter(**{field: value})


def download(field: str, text: str) -> Iterator[str]:
    """Return what `find` selects as lines of CSV, with the outcomes; raises Invalid."""
    chosen = find(field, text)
    audit.record(Action.DOWNLOADED, "predictions", after={"by": field, "count": chosen.count()})
    return chosen.as_csv()


def erase(field: str, text: str) -> int:
    """Erase the predictions whose field has exactly this value, and return their number; raises Invalid.

    Their outcomes and shadow scores go with them. The audit trail keeps the number, and not the value.
    """
    value = _parse(field, text)
    log.drain()
    with transaction.atomic():
        # Until the end no drainer stores what it read before.
        lock(AdvisoryLock.LOG_WRITER)
        stored = Prediction.objects.filter(**{field: value})
        ids = set(stored.values_list("pk", flat=True))
        stored.delete()
        unstored = log.erase_unstored(field, value)
        count = len(unstored | {str(pk) for pk in ids})
        for text_id in unstored:
            # That of a dead letter may be none.
            with suppress(ValueError):
                ids.add(UUID(text_id))
        Outcome.objects.filter(pk__in=ids).delete()
        ShadowScore.objects.filter(prediction_id__in=ids).delete()
        audit.record(Action.ERASED, "predictions", after={"by": field, "count": count})
    return count


def _parse(field: str, text: str) -> str:
    """Return the value as predictions have it; raises Invalid."""
    if field not in FIELDS:
        raise Invalid({"field": [("unknown_field", _("There is no such field."))]})
    # Rows of before may have what is a marker of unknown now.
    values, violations = contract.Contract([FIELDS[field]], markers=frozenset()).check({field: text})
    if violations:
        raise Invalid({"value": by_field(violations)[field]})
    value = str(values[field])
    if field != ID:
        return value
    try:
        return str(UUID(value))
    except ValueError as error:
        raise Invalid({"value": [("invalid", _("This is not the id of a prediction."))]}) from error
