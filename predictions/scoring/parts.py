"""Score one part of a file: answers logged, results stored and the part marked as done in one transaction."""

from functools import partial
from typing import IO

import polars as pl
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils.translation import gettext as _

from core.errors import TitanicError
from core.jobs import Cancelled, State
from core.postgres_copy import copy_csv
from ingestion.passenger import LABEL
from predictions import explanation, log, scorer
from predictions.metrics import counter_of
from predictions.models import Channel, Prediction, ScoringJob, ScoringPart
from predictions.scoring import result_files
from predictions.scoring.chunks import LINE, PREDICTION_ID, prediction_ids, score_chunk
from predictions.scoring.cutting import read_chunk
from training.artifact import ArtifactError
from training.models import ModelVersion


def score_next(job: ScoringJob, file: IO[bytes]) -> bool:
    """Score a part that no other worker has taken; False when there is none."""
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
    assert job.split_at is not None
    try:
        model = scorer.get_version(job.model_version)
    except (ArtifactError, ModelVersion.DoesNotExist) as error:
        message = _("Model %(version)s, with which this job began, cannot be used: %(reason)s. Send the file again.")
        raise TitanicError(message % {"version": job.model_version, "reason": error}) from error
    explainer = explanation.explainer(job.model_version) if job.is_explained else None
    number = partial(prediction_ids, job_id=job.pk, moment=job.split_at)
    scored = score_chunk(read_chunk(file, job.header, part), model, explainer, number=number)
    _log(job, scored.accepted, model)
    text = result_files.csv_lines(scored.results.drop(LINE))
    part.row_count, part.problem_count = scored.results.height, scored.results.height - scored.accepted.height
    part.results.name = result_files.store(job, part.number, text)
    part.result_bytes, part.is_done = len(text), True
    part.save()
    # A job cancelled meanwhile gives the part up; the lock keeps it from being cancelled before the transaction ends.
    if ScoringJob.objects.select_for_update().get(pk=job.pk).state == State.CANCELLED:
        default_storage.delete(part.results.name)
        raise Cancelled
    positives = int(scored.accepted[LABEL].sum())
    for predicted, count in ((True, positives), (False, scored.accepted.height - positives)):
        if count:
            transaction.on_commit(partial(counter_of(model.version, predicted, Channel.CSV.value).inc, count))


def _log(job: ScoringJob, accepted: pl.DataFrame, model: scorer.Champion) -> None:
    """Copy the answers into the prediction log."""
    assert job.split_at is not None
    rows = accepted.with_columns(
        pl.col(PREDICTION_ID).alias("id"),
        pl.col(LABEL).alias("predicted"),
        pl.lit(model.threshold).alias("threshold"),
        pl.lit(Channel.CSV.value).alias("source"),
        pl.lit(job.pk).alias("scoring_job_id"),
        pl.lit(job.split_at.isoformat()).alias("created_at"),
    )
    copy_csv(Prediction._meta.db_table, log.COLUMNS, result_files.csv_lines(rows.select(log.COLUMNS)))
