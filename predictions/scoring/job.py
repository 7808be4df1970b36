"""A scoring job from beginning to end: one worker runs it, and others score parts of it."""

import logging
import time
from functools import partial
from typing import IO

import polars as pl
from celery import current_app
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import F, Sum
from django.utils.translation import gettext_noop
from kombu.exceptions import OperationalError as BrokerUnavailable

from core import audit
from core.advisory_locks import AdvisoryLock, lock
from core.errors import Conflict, TitanicError
from core.jobs import OPEN_STATES, Cancelled, State
from core.log_context import working_on
from core.messages import Message as _
from core.models import Action
from core.postgres_copy import copy_csv
from core.redis import RedisUnavailable
from ingestion import headings
from ingestion.reading import Reading, of_json, to_json
from ingestion.schema import FIELDS
from ingestion.spellings import Spellings
from predictions import explanation, log, scorer
from predictions.log import counts
from predictions.models import Channel, Prediction, ScoringJob
from predictions.scoring import result_files, splitting
from predictions.scoring.chunks import LINE, PREDICTED, PREDICTION_ID, PROBABILITY, prediction_ids, score_chunk
from training.artifact import ArtifactError
from training.models import ModelVersion

logger = logging.getLogger(__name__)

#: How many workers are asked to take parts, beside the one that has the job.
MAX_HELPERS = 7
#: Seconds that a helper takes parts before it lets its queue's other messages through.
HELPER_SECONDS = 15.0
_POLL_SECONDS = 0.2


def score(job: ScoringJob) -> None:
    """Score the job's file, with all workers that are free; what an earlier start has done stays done."""
    with job.running():
        if job.split_at is None:
            job.begin_stage(gettext_noop("Split the file"))
            splitting.split_file(job)
        job.begin_stage(gettext_noop("Score the parts"))
        for _number in range(min(MAX_HELPERS, job.parts.filter(is_done=False).count() - 1)):
            _send_helper(job)
        rows, problems = Sum("row_count", default=0), Sum("problem_count", default=0)
        size = Sum(F("end") - F("start"), default=0)
        file_size = job.parts.aggregate(size=size)["size"]
        with job.upload.open("rb") as file:
            while True:
                done = job.parts.filter(is_done=True).aggregate(rows=rows, problems=problems, size=size)
                job.report(done["size"] / file_size, count=done["rows"])
                if done["size"] == file_size:
                    break
                if not score_next(job, file):
                    # Other workers have the rest; a part of one that dies is free again.
                    time.sleep(_POLL_SECONDS)
        job.begin_stage(gettext_noop("Put the results together"))
        report = job.reading_report or Reading()
        for stored in job.parts.exclude(reading=None).values_list("reading", flat=True).iterator():
            report.add(of_json(stored))
        with transaction.atomic():
            job.row_count, job.problem_count, job.reading = done["rows"], done["problems"], to_json(report)
            job.save(update_fields=["row_count", "problem_count", "reading"])
            rejection = job.rejection(rejected_count=done["problems"], row_count=done["rows"])
            rejection = rejection or report.other_codes(FIELDS, row_count=done["rows"])
            if not rejection:
                job.complete()
        if rejection:
            raise TitanicError(rejection)
        result_files.delete_leftovers(job)


def score_parts(job_id: int) -> None:
    """Score parts of the job for some seconds; an error in a part is raised here, and in the job's own worker too."""
    job = ScoringJob.objects.filter(pk=job_id, state=State.RUNNING, split_at__isnull=False).first()
    if job is None or not job.parts.filter(is_done=False).exists():
        return
    # From a bucket the whole file is fetched when it is opened: the time counts from then on.
    with working_on(job.task_id, request_id=job.request_id), job.upload.open("rb") as file:
        end = time.monotonic() + HELPER_SECONDS
        while time.monotonic() < end:
            if not score_next(job, file):
                return
            if not ScoringJob.objects.filter(pk=job.pk, state=State.RUNNING).exists():
                return
    _send_helper(job)


def score_next(job: ScoringJob, file: IO[bytes]) -> bool:
    """Score a part that no other worker has taken; False when there is none.

    Its answers are logged, its results stored and the part marked as done in one transaction.
    """
    assert job.model_version is not None
    assert job.split_at is not None
    # A job that began before an update has no record yet.
    header = job.header or []
    report = job.reading_report or Reading(header=header, columns=dict(headings.match(header, FIELDS).columns))
    with transaction.atomic():
        waiting = job.parts.filter(is_done=False).order_by("number")
        part = waiting.select_for_update(skip_locked=True, of=("self",)).first()
        if part is None:
            return False
        try:
            model = scorer.get_version(job.model_version)
        except (ArtifactError, ModelVersion.DoesNotExist) as error:
            message = _(
                "Model %(version)s, with which this job began, cannot be used: %(reason)s. Send the file again."
            )
            raise TitanicError(message % {"version": str(job.model_version), "reason": error}) from error
        explainer = explanation.load_explainer(job.model_version) if job.is_explained else None
        number = partial(prediction_ids, job_id=job.pk, moment=job.split_at)
        spellings = Spellings(decimals=report.decimals, markers=job.markers)
        chunk = splitting.read_chunk(file, report.layout, part)
        scored = score_chunk(chunk, model, explainer, number=number, spellings=spellings)
        _log(job, scored.accepted, model)
        text = result_files.csv_lines(scored.results.drop(LINE))
        part.row_count, part.problem_count = scored.results.height, scored.results.height - scored.accepted.height
        part.results.name = result_files.store(job, part.number, text)
        part.result_bytes, part.is_done = len(text), True
        part.reading = to_json(scored.reading)
        part.save()
        # A job cancelled meanwhile discards the part; the lock keeps it from being cancelled before this is committed.
        if ScoringJob.objects.select_for_update().get(pk=job.pk).state == State.CANCELLED:
            default_storage.delete(part.results.name)
            raise Cancelled
        positives = int(scored.accepted[PREDICTED].sum())
        counts.add(
            {
                counts.Labels(model.version, predicted=True, source=Channel.CSV): positives,
                counts.Labels(model.version, predicted=False, source=Channel.CSV): scored.accepted.height - positives,
            }
        )
    return True


def delete(job: ScoringJob) -> None:
    """Delete a job that is over, its results, and its file unless a rerun has it; its predictions stay in the log."""
    with transaction.atomic():
        lock(AdvisoryLock.UPLOADS)
        over = ScoringJob.objects.exclude(state__in=OPEN_STATES).select_for_update().filter(pk=job.pk).first()
        if over is None:
            raise Conflict(_("This run is not over yet: cancel it first."))
        over.release_upload()
        audit.record(Action.DELETED, over, before={"name": over.name, "state": over.state})
        over.delete()
        transaction.on_commit(partial(result_files.delete_results, job.pk))


def _log(job: ScoringJob, accepted: pl.DataFrame, model: scorer.Champion) -> None:
    """Copy the answers into the prediction log."""
    assert job.split_at is not None
    rows = accepted.with_columns(
        pl.col(PREDICTION_ID).alias("id"),
        pl.col(PREDICTED).alias("predicted"),
        pl.col(PROBABILITY).alias("probability"),
        pl.lit(model.threshold).alias("threshold"),
        pl.lit(Channel.CSV.value).alias("source"),
        pl.lit(job.pk).alias("scoring_job_id"),
        pl.lit(job.split_at.isoformat()).alias("created_at"),
        pl.lit(None).alias("reference"),
        pl.lit(False).alias("anonymous"),  # noqa: FBT003
        pl.lit(job.request_id or None).alias("request_id"),
    )
    copy_csv(Prediction._meta.db_table, log.COLUMNS, result_files.csv_lines(rows.select(log.COLUMNS)))


def _send_helper(job: ScoringJob) -> None:
    try:
        current_app.send_task(
            "predictions.tasks.score_parts", kwargs={"job_id": job.pk}, queue=job.queue, retry=False, expires=60
        )
    except (BrokerUnavailable, *RedisUnavailable):
        logger.warning("%s runs without further workers: the broker is unavailable", job.task_id)
