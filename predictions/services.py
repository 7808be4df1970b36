"""Predict: for one passenger, for many, from the form; and queue the scoring of a file."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import partial
from typing import NamedTuple

import msgspec
import uuid_utils
from django.contrib.auth.models import User
from django.core.files.uploadedfile import UploadedFile
from django.utils import timezone
from django.utils.translation import gettext as _
from prometheus_client import Histogram

from core import audit
from core.errors import Invalid, TooLarge
from core.file_names import upload_label
from features.definition import FEATURES
from ingestion import schema
from ingestion.contract import CheckedRows, Contract, Row, Value
from ingestion.models import ReadingOptions
from ingestion.passenger import LABEL, RULES
from ingestion.schema import CONTRACT, FIELD_NAMES, FIELDS
from ingestion.services import validate_options
from ingestion.validation_messages import by_field
from predictions import drift_state, log, optional_legacy, rejections, scorer
from predictions.idempotency import LIFETIME_SECONDS, Key
from predictions.models import REFERENCE, Channel, ScoringJob
from predictions.scorer import FeatureValues

MAX_BATCH = 10_000
SCORING_SECONDS = Histogram(
    "titanic_scoring_seconds",
    "Time to derive the features and score the rows of one request",
    buckets=(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1),
)
_is_dry_run = ContextVar("is_dry_run", default=False)


class Answer(msgspec.Struct, frozen=True, gc=False, rename={"predicted": LABEL}):
    """The answer for one passenger."""

    id: str
    predicted: bool
    probability: float
    threshold: float
    model_version: int
    features: FeatureValues
    created_at: datetime
    reference: Value
    #: Beside the answer for a single passenger; a batch has one for all of its answers.
    drift: drift_state.DriftNote | msgspec.UnsetType = msgspec.UNSET


#: Check rows by the contract.
Check = Callable[[Sequence[Mapping[str, object]]], CheckedRows]


class ScoringRequest(NamedTuple):
    """Checked passengers, the channel they came through, and the caller's own ids of them, if any."""

    rows: Sequence[Row]
    channel: Channel
    references: Sequence[Value] | None = None


# A row with the caller's own id.
_API_CONTRACT = Contract((*FIELDS, REFERENCE), rules=RULES)


def parse_one(raw: Mapping[str, object]) -> ScoringRequest:
    """Check one passenger as the API sends it; raises Invalid with every rejected field."""
    with rejections.counted(Channel.API):
        return _split_references(check_rows([raw], check=_API_CONTRACT.check_all), Channel.API)


def parse_batch(instances: Sequence[Mapping[str, object]]) -> ScoringRequest:
    """Check the API's batch of passengers; raises Invalid with every rejected field and its index, TooLarge."""
    name_error = "instances.{index}.{name}".format
    with rejections.counted(Channel.BATCH):
        rows = check_rows(instances, check=_API_CONTRACT.check_all, field="instances", name_error=name_error)
        return _split_references(rows, Channel.BATCH)


def parse_form(form: Mapping[str, str]) -> ScoringRequest:
    """Check the page's form, with its own field names or the old form's; raises Invalid with every rejected field."""
    is_legacy = optional_legacy.is_legacy(form)
    # A browser posts other fields too, such as the CSRF token.
    raw = {name: text for name, text in form.items() if name in (FEATURES if is_legacy else FIELD_NAMES)}
    check = optional_legacy.check_all if is_legacy else partial(CONTRACT.check_all, is_text=True)
    with rejections.counted(Channel.FORM):
        return ScoringRequest(check_rows([raw], check=check), Channel.FORM)


def check_rows(
    raws: Sequence[Mapping[str, object]],
    *,
    check: Check,
    field: str = "",
    name_error: Callable[..., str] = "{name}".format,
) -> list[Row]:
    """Check rows; one that is rejected rejects all.

    Raises TooLarge at `field`, and Invalid with every rejected field under `name_error(name=, index=)`.
    """
    if len(raws) > MAX_BATCH:
        message = _("At most %(most)s rows at a time; for more, send a CSV file to scoring-jobs/.")
        raise TooLarge(message % {"most": MAX_BATCH}, field=field)
    rows, wrong = check(raws)
    errors: dict[str, list[tuple[str, str]]] = {}
    for index, violations in wrong.items():
        errors |= {name_error(name=name, index=index): texts for name, texts in by_field(violations).items()}
    if errors:
        raise Invalid(errors)
    return [tuple(values.values()) for values in rows]


def _split_references(rows: Sequence[Row], channel: Channel) -> ScoringRequest:
    return ScoringRequest([row[:-1] for row in rows], channel, [row[-1] for row in rows])


def predict_idempotent(
    parse: Callable[[], ScoringRequest], *, key: Key, encode: Callable[[list[Answer]], bytes]
) -> tuple[bytes, bool]:
    """Predict once for a key; returns the encoded answer, and whether it was stored already.

    Raises Invalid, Conflict, Unavailable.
    """
    stored = key.stored_answer()
    if stored is not None:
        return stored, True
    answers, entries = score(parse())
    encoded = encode(answers)
    # Of two requests at once, the second gets what the first one stored.
    first = log.append_idempotent(entries, key=key.name, value=key.wrap(encoded), ttl_seconds=LIFETIME_SECONDS)
    if first is not None:
        return key.unwrap(first), True
    return encoded, False


def predict(request: ScoringRequest) -> list[Answer]:
    """Score checked passengers with the champion and log the answers, except in a dry run; raises Unavailable."""
    answers, entries = score(request)
    if entries and not _is_dry_run.get():
        log.append(entries)
    return answers


@contextmanager
def dry_run() -> Iterator[None]:
    """Do not log the predictions made within the body: those of the consistency check."""
    token = _is_dry_run.set(True)
    try:
        yield
    finally:
        _is_dry_run.reset(token)


def score(request: ScoringRequest) -> tuple[list[Answer], list[log.LogEntry]]:
    """Score with the champion; returns the answers, and their log entries, to be appended before anything is answered.

    Raises Unavailable.
    """
    answers: list[Answer] = []
    entries: list[log.LogEntry] = []
    if not request.rows:
        return answers, entries
    champion = scorer.champion()
    version, threshold, channel = champion.version, champion.threshold, request.channel.value
    with SCORING_SECONDS.time():
        scored = champion.score(schema.columns_from_rows(request.rows))
    now, anonymous, request_id = timezone.now(), audit.is_anonymous(), audit.request_id() or None
    is_single = len(request.rows) == 1
    drift = drift_state.note(champion.seen_values, scored.matrix) if is_single else msgspec.UNSET
    references = request.references or [None] * len(request.rows)
    columns = (scored.matrix.tolist(), scored.probabilities.tolist(), scored.predicted.tolist())
    for row, reference, features, probability, predicted in zip(request.rows, references, *columns, strict=True):
        # Time-ordered, and in the order of the rows.
        id_ = str(uuid_utils.uuid7())
        named = scorer.Features(*features)
        answers.append(Answer(id_, predicted, probability, threshold, version, named, now, reference, drift))
        values = (*row, reference, anonymous, request_id)
        entries.append(log.Entry(id_, version, probability, threshold, predicted, channel, None, now, *values))
    return answers, entries


def queue_scoring(*, file: "UploadedFile[bytes]", by: User | None, **options: object) -> ScoringJob:
    """Store an uploaded table and queue its scoring; `options` are fields of the job. Raises TitanicError."""
    job = ScoringJob(name=upload_label(file), upload=file, created_by=by, **options)
    validate_options(job, ReadingOptions)
    with job.storing():
        job.limit_open()
        return job.queue_new()
