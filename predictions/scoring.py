"""Scoring a CSV file: cut into parts that every free worker takes from, each part scored and logged once.

A part is read, judged by the contract, scored, copied into the log, its results are kept, and it is done: in one
transaction that holds the part's row locked. Whoever is killed leaves no part half done and no lock behind, and nobody
scores a part again. The job itself only cuts, takes parts like the others, and waits for the last.
"""

import io
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import PurePath
from typing import IO, NamedTuple

import numpy as np
import polars as pl
from celery import current_app
from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import F, Sum
from django.utils import timezone
from django.utils.translation import gettext as _
from kombu.exceptions import OperationalError as BrokerAway

from core.csv_injection import escape_row, escaped_column
from core.errors import TitanicError
from core.jobs import Cancelled, State
from core.postgres_copy import copy_csv
from core.redis import RedisUnavailable
from features.definition import INPUTS
from ingestion import table_validation
from ingestion.contract import python_values
from ingestion.json_validation import Row
from ingestion.passenger import FIELD_NAMES, FIELDS, RULES
from ingestion.table import RAGGED, Chunk, Layout, Part, split
from ingestion.validation_messages import table_errors
from predictions import explanation, log, scorer
from predictions.metrics import counter_of
from predictions.models import Channel, Prediction, ScoringJob, ScoringPart, lowest_id
from training.artifact import ArtifactError
from training.models import ModelVersion

logger = logging.getLogger(__name__)

#: With every field's share a row costs a tenth of a second.
MOST_EXPLAINED = 2_000
# A part of some hundred rows at most: it takes seconds as other parts do.
_EXPLAINED_BYTES = 1024
#: So many workers are asked to take parts, beside the one that has the job.
HELPERS = 7
#: Seconds that a helper takes parts before it lets its queue's other messages through.
HELP_SECONDS = 15.0
_LOOK_SECONDS = 0.2
_ANSWER = ("probability", "survived", "model_version")
_ID, _ERROR = "prediction_id", "error"
_LINE = "line"
_REQUIRED = [field.name for field in FIELDS if field.is_required]
# A version 7 UUID: 48 bits of time, its marks, and 62 bits that are ours: the job and the line.
_ID_MARKS, _JOB_AT, _JOB_BITS = (7 << 76) | (2 << 62), 32, 30


class Answered(NamedTuple):
    """A chunk after the contract and the model: its good rows with their answers, and all rows as they are written."""

    good: pl.DataFrame
    results: pl.DataFrame


def score(job: ScoringJob) -> None:
    """Score the job's file, with all workers that are free; what an earlier start has done stays done."""
    with job.running():
        if job.cut_at is None:
            _cut(job)
        _ask_for_help(job)
        with job.upload.open("rb") as file:
            while not _is_done(job):
                if not _score_next(job, file):
                    # The rest is in others' hands; one who dies gives it back.
                    time.sleep(_LOOK_SECONDS)
        _conclude(job)


def help_with(job_id: int) -> None:
    """Take parts of the job for a while; raises what a part fails by, which the job's own worker will meet too."""
    job = ScoringJob.objects.filter(pk=job_id, state=State.RUNNING, cut_at__isnull=False).first()
    if job is None:
        return
    if not job.parts.filter(is_done=False).exists():
        return
    with job.upload.open("rb") as file:
        # From a bucket the whole of it has been fetched by now.
        end = time.monotonic() + HELP_SECONDS
        while time.monotonic() < end:
            if not _score_next(job, file) or not _is_running(job):
                return
    _send_helper(job)


def results(job: ScoringJob) -> Iterator[bytes]:
    """The results of a job that succeeded, as CSV, piece by piece."""
    yield _head(job)
    for part in job.parts.order_by("number").iterator():
        with part.results.open("rb") as file:
            yield from iter(partial(file.read, 2**20), b"")


def are_kept(job: ScoringJob) -> bool:
    """Whether storage still has all results, asked in one go."""
    try:
        found = set(default_storage.listdir(_folder(job))[1])
    except FileNotFoundError:
        return False
    return _kept(job) <= found


def result_bytes(job: ScoringJob) -> int:
    """How long the results are."""
    total: int = job.parts.aggregate(total=Sum("result_bytes"))["total"] or 0
    return len(_head(job)) + total


def answer(
    chunk: Chunk,
    model: scorer.Champion,
    explainer: explanation.Explainer | None = None,
    *,
    number: Callable[[pl.Series], pl.Series],
) -> Answered:
    """Judge and score the rows of a chunk, and number the answers by their lines; nothing is logged here."""
    checked = table_validation.check_columns(FIELDS, chunk.cells, rules=RULES)
    scored = model.score(checked.columns)
    good = checked.frame.with_columns(
        pl.Series("probability", scored.probabilities.astype(np.float64)),
        pl.Series("survived", scored.survived.astype(np.int8)),
        pl.lit(model.version).alias("model_version"),
        pl.Series(_LINE, chunk.lines[checked.rows]),
    )
    good = good.with_columns(number(good[_LINE]).alias(_ID))
    if explainer is not None:
        good = good.with_columns(_shares(checked, explainer))
    return Answered(good, _results_of(chunk, good, checked, is_explained=explainer is not None))


def _cut(job: ScoringJob) -> None:
    """Cut the file, and pin what all parts have in common."""
    champion = scorer.champion()
    with job.upload.open("rb") as file, tempfile.TemporaryFile("w+b") as plain:
        with table_errors():
            header, parts = split(file, out=plain, size=_EXPLAINED_BYTES if job.is_explained else None)
            Layout.of(header, known=FIELD_NAMES, required=_REQUIRED)
        if not parts:
            raise TitanicError(_("The table has a header and no rows."))
        if job.is_explained:
            explanation.explainer(champion.version)
            _refuse_long(plain, header, parts)
        before = kept = str(job.upload.name)
        if plain.seek(0, io.SEEK_END) != job.upload.size:
            kept = f"{before}.csv"
            # Of somebody who was killed here.
            default_storage.delete(kept)
            plain.seek(0)
            kept = default_storage.save(kept, File(plain))
    try:
        _pin(job, header, parts, champion=champion, upload=kept)
    except BaseException:
        if kept != before:
            default_storage.delete(kept)
        raise
    if kept != before:
        default_storage.delete(before)
    # Its file is still open under the old name.
    job.refresh_from_db(fields=["upload"])


def _pin(job: ScoringJob, header: list[str], parts: Sequence[Part], *, champion: scorer.Champion, upload: str) -> None:
    """Write down the parts, and what they have in common; raises Cancelled."""
    with transaction.atomic():
        job.lock_row()
        job.header, job.model_version, job.cut_at = header, champion.version, timezone.now()
        job.upload.name = upload
        job.save(update_fields=["header", "model_version", "cut_at", "upload"])
        ScoringPart.objects.bulk_create(
            ScoringPart(job=job, number=number, start=part.start, end=part.end, line=part.line)
            for number, part in enumerate(parts)
        )


def _refuse_long(plain: IO[bytes], header: list[str], parts: Sequence[Part]) -> None:
    count = 0
    for part in parts:
        count += _chunk(plain, header, part).row_count
        if count > MOST_EXPLAINED:
            message = _("At most %(most)s rows are explained at a time: send fewer, or score them without explanation.")
            raise TitanicError(message % {"most": MOST_EXPLAINED})


def _chunk(file: IO[bytes], header: list[str], part: Part | ScoringPart) -> Chunk:
    """The rows of a part."""
    file.seek(part.start)
    layout = Layout.of(header, known=FIELD_NAMES, required=_REQUIRED)
    with table_errors():
        return layout.chunk(file.read(part.end - part.start), line=part.line)


def _ask_for_help(job: ScoringJob) -> None:
    for _number in range(min(HELPERS, job.parts.filter(is_done=False).count() - 1)):
        _send_helper(job)


def _send_helper(job: ScoringJob) -> None:
    try:
        current_app.send_task(
            "predictions.tasks.score_parts", kwargs={"job_id": job.pk}, queue=job.queue, retry=False, expires=60
        )
    except (BrokerAway, *RedisUnavailable):
        logger.warning("%s gets no help: the broker is away", job.task_id)


def _score_next(job: ScoringJob, file: IO[bytes]) -> bool:
    """Score a part that nobody has in hand; False when there is none."""
    with transaction.atomic():
        waiting = job.parts.filter(is_done=False).order_by("number")
        part = waiting.select_for_update(skip_locked=True, of=("self",)).first()
        if part is None:
            return False
        _score_part(job, part, file)
    return True


def _score_part(job: ScoringJob, part: ScoringPart, file: IO[bytes]) -> None:
    assert job.model_version is not None
    assert job.header is not None
    try:
        model = scorer.get_version(job.model_version)
    except (ArtifactError, ModelVersion.DoesNotExist) as error:
        message = _("Model %(version)s, with which this job began, cannot be used: %(reason)s. Send the file again.")
        raise TitanicError(message % {"version": job.model_version, "reason": error}) from error
    explainer = explanation.explainer(job.model_version) if job.is_explained else None
    chunk = _chunk(file, job.header, part)
    assert job.cut_at is not None
    number = partial(ids, job_id=job.pk, moment=job.cut_at)
    answered = answer(chunk, model, explainer, number=number)
    _log(job, answered.good, model)
    text = _csv(answered.results.drop(_LINE))
    part.row_count, part.problem_count = answered.results.height, answered.results.height - answered.good.height
    part.results.name = default_storage.save(f"{_folder(job)}/{part.number}.csv", ContentFile(text))
    part.result_bytes, part.is_done = len(text), True
    part.save()
    # What was cancelled meanwhile is not wanted any more, and what is not stays so until the transaction's end.
    if ScoringJob.objects.select_for_update().get(pk=job.pk).state == State.CANCELLED:
        default_storage.delete(part.results.name)
        raise Cancelled
    transaction.on_commit(partial(_count, model.version, answered.good["survived"]))


def _log(job: ScoringJob, good: pl.DataFrame, model: scorer.Champion) -> None:
    assert job.cut_at is not None
    rows = good.with_columns(
        pl.col(_ID).alias("id"),
        pl.lit(model.threshold).alias("threshold"),
        pl.lit(Channel.CSV.value).alias("source"),
        pl.lit(job.pk).alias("scoring_job_id"),
        pl.lit(job.cut_at.isoformat()).alias("created_at"),
    )
    copy_csv(Prediction._meta.db_table, log.COLUMNS, _csv(rows.select(log.COLUMNS)))


def _count(version: int, survived: pl.Series) -> None:
    survivors = int(survived.sum())
    for verdict, count in ((True, survivors), (False, len(survived) - survivors)):
        if count:
            counter_of(version, verdict, Channel.CSV.value).inc(count)


def _is_done(job: ScoringJob) -> bool:
    """Whether every part is done; says how far the job is, and raises Cancelled."""
    done = job.parts.filter(is_done=True).aggregate(rows=Sum("row_count"), size=Sum(F("end") - F("start")))
    size = job.parts.aggregate(size=Sum(F("end") - F("start")))["size"]
    job.report((done["size"] or 0) / size, count=done["rows"] or 0)
    return bool(done["size"] == size)


def _is_running(job: ScoringJob) -> bool:
    return ScoringJob.objects.filter(pk=job.pk, state=State.RUNNING).exists()


def _conclude(job: ScoringJob) -> None:
    total = job.parts.aggregate(rows=Sum("row_count"), problems=Sum("problem_count"))
    if not total["rows"]:
        raise TitanicError(_("The table has a header and no rows."))
    with transaction.atomic():
        job.row_count, job.problem_count = total["rows"], total["problems"]
        job.save(update_fields=["row_count", "problem_count"])
        job.complete()
    _tidy(job)


def _tidy(job: ScoringJob) -> None:
    """Remove what those wrote who were stopped before their part was done."""
    folder = _folder(job)
    for name in set(default_storage.listdir(folder)[1]) - _kept(job):
        default_storage.delete(f"{folder}/{name}")


def _kept(job: ScoringJob) -> set[str]:
    """The names, within the job's folder, of its parts' results."""
    return {PurePath(name).name for name in job.parts.values_list("results", flat=True)}


def _folder(job: ScoringJob) -> str:
    return f"scoring/results/{job.pk}"


def ids(lines: pl.Series, *, job_id: int, moment: datetime) -> pl.Series:
    """Time-ordered UUIDs (version 7) of the job's lines: each job and line has its own, however often it is asked.

    >>> from datetime import UTC
    >>> ids(pl.Series([2, 3]), job_id=5, moment=datetime(2026, 11, 1, tzinfo=UTC)).to_list()
    ['01a19467-e800-7000-8000-000500000002', '01a19467-e800-7000-8000-000500000003']
    """
    base = lowest_id(moment).int | _ID_MARKS | (job_id % 2**_JOB_BITS << _JOB_AT)
    text = f"{base:032x}"
    start = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:24]}"
    return pl.Series([f"{start}{line:08x}" for line in lines.to_list()], dtype=pl.String)


def _shares(checked: table_validation.CheckedChunk, explainer: explanation.Explainer) -> list[pl.Series]:
    """The base and each field's share, as columns."""
    values = [python_values(field, checked.columns[field.name]) for field in FIELDS]
    rows: list[Row] = list(zip(*values, strict=True))
    if not rows:
        return [pl.Series(name, [], dtype=pl.Float64) for name in _why()]
    base, shares = explainer.shares(rows)
    return [pl.Series(name, column) for name, column in zip(_why(), [np.full(len(rows), base), *shares.T], strict=True)]


def _answers(*, is_explained: bool) -> list[str]:
    return [*_ANSWER, *(_why() if is_explained else []), _ID]


def _why() -> list[str]:
    return ["base", *(f"why_{name}" for name in INPUTS)]


def _head(job: ScoringJob) -> bytes:
    assert job.header is not None
    columns = [*job.header, *_answers(is_explained=job.is_explained), _ERROR]
    return _csv(pl.DataFrame([escape_row(columns)], orient="row"))


def _results_of(
    chunk: Chunk, good: pl.DataFrame, checked: table_validation.CheckedChunk, *, is_explained: bool
) -> pl.DataFrame:
    """All rows of the chunk in the file's order: their cells as text, the answers, and what is wrong with them."""
    answers = _answers(is_explained=is_explained)
    cells = chunk.table.with_columns(pl.Series(_LINE, chunk.lines, dtype=pl.Int64))
    said = pl.DataFrame(list(_said(chunk, checked)), schema={_LINE: pl.Int64, _ERROR: pl.String}, orient="row")
    # Named apart from the table's own columns, which are numbered.
    whole = cells.join(good.select(_LINE, *answers), on=_LINE, how="left", maintain_order="left")
    whole = whole.join(said, on=_LINE, how="left", maintain_order="left")
    if chunk.ragged:
        width, empty = len(chunk.header), [None] * len(answers)
        rows = [[*_fitted(cells, width), line, *empty, _(RAGGED)] for line, cells in chunk.ragged.items()]
        whole = pl.concat([whole, pl.DataFrame(rows, schema=whole.schema, orient="row")]).sort(_LINE)
    texts = [name for name, dtype in whole.schema.items() if dtype == pl.String]
    return whole.with_columns(escaped_column(name) for name in texts)


def _said(chunk: Chunk, checked: table_validation.CheckedChunk) -> Iterator[tuple[int, str]]:
    """What is said of each refused row, by its line."""
    refused: dict[int, list[str]] = {}
    for problem in checked.errors:
        text = _(problem.violation.message) % dict(problem.violation.params)
        refused.setdefault(problem.row, []).append(f"{problem.violation.field}: {text}")
    for row, texts in refused.items():
        yield int(chunk.lines[row]), " ".join(texts)


def _fitted(cells: list[str], width: int) -> list[str]:
    return (cells + [""] * width)[:width]


def _csv(rows: pl.DataFrame) -> bytes:
    return rows.write_csv(include_header=False).encode()
