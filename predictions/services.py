"""Answering: one passenger, many passengers, the form."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from core.advisory_locks import AdvisoryLock, lock
from core.errors import Conflict, Invalid, TooLarge
from core.file_names import upload_label
from ingestion import contract, passenger
from ingestion.json_validation import Row
from ingestion.passenger import FIELD_NAMES, FIELDS
from ingestion.validation_messages import by_field
from predictions import log, metrics, optional_legacy, scorer
from predictions.idempotency import LIFETIME_SECONDS, Key
from predictions.models import Channel, ScoringJob, new_ids

MAX_BATCH = 10_000


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a caller gets for one passenger."""

    id: str
    survived: bool
    probability: float
    threshold: float
    model_version: int
    features: Any
    created_at: datetime


class ScoringRequest(NamedTuple):
    """Checked passengers, and the channel they came through."""

    rows: Sequence[Row]
    channel: Channel


def parse_one(raw: Mapping[str, Any]) -> ScoringRequest:
    """Parse and check one passenger as the API sends it; raises Invalid with every rejected field."""
    return ScoringRequest([_row(raw)], Channel.API)


def parse_batch(instances: Sequence[Mapping[str, Any]]) -> ScoringRequest:
    """Parse and check many passengers; raises Invalid with every rejected field and its index, TooLarge."""
    if len(instances) > MAX_BATCH:
        message = _("At most %(most)s passengers at a time; for more, send a CSV file to scoring-jobs/.")
        raise TooLarge(message % {"most": MAX_BATCH}, field="instances")
    return ScoringRequest(_rows(instances), Channel.BATCH)


def predict_idempotent(raw: Mapping[str, Any], *, key: Key) -> tuple[bytes, bool]:
    """The answer for one passenger as JSON, once for a key, and whether it had been given before.

    Raises Invalid, Conflict, Unavailable.
    """
    known = key.answered()
    if known is not None:
        return known, True
    (found,), entries = score(parse_one(raw))
    given = msgspec.json.encode(found)
    # Of two who ask at once, both get what the first one is told.
    kept = log.append_idempotent(entries[0], name=key.name, value=key.keeping(given), seconds=LIFETIME_SECONDS)
    first = key.read(kept)
    if first is not None:
        return first, True
    metrics.count(entries)
    return given, False


def predict_from_form(form: Mapping[str, str]) -> Answer:
    """Answer the page's form, with its own field names or the old form's; every value is text. Raises Invalid."""
    (given,) = predict(ScoringRequest([_row_of_form(form)], Channel.FORM))
    return given


def _row_of_form(form: Mapping[str, str]) -> Row:
    if not optional_legacy.is_legacy(form):
        return _row({name: text for name, text in form.items() if name in FIELD_NAMES}, is_text=True)
    values, violations = optional_legacy.check_row(form)
    _refuse(by_field(violations))
    return tuple(values.values())


def predict(request: ScoringRequest) -> list[Answer]:
    """Score checked passengers with the champion and log the answers; raises Unavailable."""
    answers, entries = score(request)
    if entries and not log.is_dry_run():
        log.append(entries)
        metrics.count(entries)
    return answers


def score(request: ScoringRequest) -> tuple[list[Answer], list[Any]]:
    """The champion's answers, and their entries for the log: nothing is answered before it is logged.

    Raises Unavailable.
    """
    rows = request.rows
    if not rows:
        return [], []
    champion = scorer.champion()
    began = time.perf_counter()
    scored = champion.score(passenger.columns_from_rows(rows))
    metrics.SCORING_SECONDS.observe(time.perf_counter() - began)
    now, ids = timezone.now(), new_ids(len(rows))
    version, threshold = champion.version, champion.threshold
    verdicts, probabilities = scored.survived.tolist(), scored.probabilities.tolist()
    features = scorer.features_of(scored.matrix)
    answers = [
        Answer(id_, survived, probability, threshold, version, named, now)
        for id_, survived, probability, named in zip(ids, verdicts, probabilities, features, strict=True)
    ]
    entries = [
        log.Entry(id_, version, probability, threshold, survived, request.channel.value, None, now, *row)
        for id_, survived, probability, row in zip(ids, verdicts, probabilities, rows, strict=True)
    ]
    return answers, entries


def queue_scoring(*, file: "UploadedFile[Any]", by: User | None, is_explained: bool = False) -> ScoringJob:
    """A queued scoring of an uploaded CSV file, kept in storage; raises TooLarge, Conflict."""
    name = upload_label(file)
    _refuse_many(by)
    job = ScoringJob(name=name, created_by=by, is_explained=is_explained)
    job.upload.save(name, file, save=False)
    try:
        with transaction.atomic():
            # Of two at once the second counts the first.
            lock(AdvisoryLock.USERS_SCORING_JOBS, key=by.pk if by else 0)
            _refuse_many(by)
            job.save()
    except BaseException:
        # What is refused leaves nothing behind.
        job.upload.delete(save=False)
        raise
    return job


def _refuse_many(by: User | None) -> None:
    if ScoringJob.objects.open().filter(created_by=by).count() >= settings.MOST_OPEN_JOBS:
        message = _("%(most)s of your files are being scored already: wait for one of them, or cancel it.")
        raise Conflict(message % {"most": settings.MOST_OPEN_JOBS})


def _row(raw: Mapping[str, Any], *, is_text: bool = False) -> Row:
    """One passenger's values in the order of the fields; raises Invalid."""
    values, refusals = contract.check_row(FIELDS, raw, rules=passenger.RULES, is_text=is_text)
    _refuse(by_field(refusals))
    return tuple(values.values())


def _rows(instances: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The instances' values; raises Invalid with each refused field, named by its index."""
    plain = passenger.READER.read(instances)
    if plain is not None:
        return plain
    rows, errors = [], {}
    for index, raw in enumerate(instances):
        values, refusals = contract.check_row(FIELDS, raw, rules=passenger.RULES)
        rows.append(tuple(values.values()))
        errors.update(by_field(refusals, prefix=f"instances.{index}."))
    _refuse(errors)
    return rows


def _refuse(errors: Mapping[str, list[tuple[str, str]]]) -> None:
    if errors:
        raise Invalid(errors)
