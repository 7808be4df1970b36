"""Answering: one passenger, many passengers, the form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import UploadedFile
from django.utils import timezone
from django.utils.translation import gettext as _

from features import legacy
from ingestion import contract, passenger
from ingestion.passenger import FIELD_NAMES, FIELDS
from ingestion.refusals import by_field
from predictions import log, scorer
from predictions.metrics import PREDICTIONS, SCORING_SECONDS
from predictions.models import Door, ScoringJob, new_id
from titanic_site.lib.errors import Invalid, TooLarge

LARGEST_BATCH = 10_000

Passenger = Mapping[str, contract.Value]


@dataclass(frozen=True)
class Answer:
    """What a caller gets for one passenger."""

    id: UUID
    survived: bool
    probability: float
    threshold: float
    model_version: int
    features: dict[str, float | None]
    created_at: datetime


def predict(raw: Mapping[str, Any]) -> Answer:
    """Check one passenger as the API sends it, answer and log; raises Invalid with every refused field."""
    values, refusals = contract.check_row(FIELDS, raw, rules=passenger.RULES)
    _refuse(by_field(refusals))
    return answer([values], door=Door.API)[0]


def predict_batch(instances: Sequence[Mapping[str, Any]]) -> list[Answer]:
    """The same for many, in the same order; one that is refused refuses all, named by its index."""
    if len(instances) > LARGEST_BATCH:
        message = _("At most %(most)s passengers at a time; for more, send a CSV file to scoring-jobs/.")
        raise TooLarge(message % {"most": LARGEST_BATCH}, field="instances")
    checked, errors = [], {}
    for index, raw in enumerate(instances):
        values, refusals = contract.check_row(FIELDS, raw, rules=passenger.RULES)
        checked.append(values)
        errors.update(by_field(refusals, prefix=f"instances.{index}."))
    _refuse(errors)
    return answer(checked, door=Door.BATCH) if checked else []


def predict_from_form(form: Mapping[str, str]) -> Answer:
    """The same for the page's form, with its own field names or the old form's; every value is text."""
    if not legacy.is_legacy(form):
        known = {name: text for name, text in form.items() if name in FIELD_NAMES}
        values, refusals = contract.check_row(FIELDS, known, rules=passenger.RULES, is_text=True)
        _refuse(by_field(refusals))
        return answer([values], door=Door.FORM)[0]
    translated, refusals = legacy.translate(form)
    _refuse(by_field(refusals))
    values, refusals = contract.check_row(FIELDS, translated, rules=passenger.RULES)
    _refuse(by_field(legacy.rename(refusals)))
    return answer([values], door=Door.FORM)[0]


def answer(passengers: Sequence[Passenger], *, door: Door) -> list[Answer]:
    """Score checked passengers with the champion and log the answers; what is not logged is not answered."""
    champion = scorer.current()
    with SCORING_SECONDS.time():
        scored = champion.score(passenger.to_columns(passengers))
    now = timezone.now()
    answers = [
        Answer(
            id=new_id(),
            survived=bool(survived),
            probability=float(probability),
            threshold=champion.threshold,
            model_version=champion.version,
            features=scorer.features_of(row),
            created_at=now,
        )
        for row, probability, survived in zip(*scored, strict=True)
    ]
    log.append([_entry(given, asked, door=door) for given, asked in zip(answers, passengers, strict=True)])
    for given in answers:
        PREDICTIONS.labels(champion.version, str(given.survived).lower(), door).inc()
    return answers


def queue_scoring(*, file: "UploadedFile[Any]", by: User | None) -> ScoringJob:
    """A queued scoring of an uploaded CSV file, kept in storage."""
    if (file.size or 0) > settings.LARGEST_UPLOAD:
        most = settings.LARGEST_UPLOAD // 1024**2
        raise TooLarge(_("The file is larger than %(most)s MB. Split it.") % {"most": most}, field="file")
    return ScoringJob.objects.create(upload=file, name=PurePath(file.name or "upload.csv").name[-200:], created_by=by)


def _entry(given: Answer, asked: Passenger, *, door: Door) -> log.Entry:
    return log.Entry(
        given.id, given.model_version, given.probability, given.threshold, given.survived,
        door.value, None, given.created_at, tuple(asked[name] for name in FIELD_NAMES),
    )  # fmt: skip


def _refuse(errors: Mapping[str, list[tuple[str, str]]]) -> None:
    if errors:
        raise Invalid(errors)
