"""Live performance: the champion's figures on recorded outcomes, and estimated without them, as a check stores them."""

import logging
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec
import numpy as np
from django.db import connection, transaction
from django.utils.translation import gettext_noop
from numpy.typing import NDArray

from core.errors import Conflict
from core.messages import Message as _
from features.definition import FEATURES, derive, slices
from ingestion import schema
from ingestion.contract import Row
from ingestion.schema import FIELD_NAMES
from monitoring.models import SUMMARY, PerformanceCheck
from monitoring.performance_report import (
    GroupPerformance,
    PerformanceFigures,
    PerformanceReport,
    PredictionChunk,
    PredictionWindow,
    expected_by_slice,
    expected_figures,
)
from predictions.models import Outcome, Prediction, ScoringJob, lowest_id, made_at
from training.metrics import Estimate, Metrics
from training.models import ModelVersion, Stage

logger = logging.getLogger(__name__)

#: How many of the champion's latest outcomes and live predictions are read.
OUTCOMES, PREDICTIONS = 5_000, 10_000
#: Live predictions are cut into at most so many chunks, of no fewer predictions than that.
MOST_CHUNKS, SMALLEST_CHUNK = 20, 50
#: How many of the champion's latest files are read, and how many rows of each: the first ones.
FILES, FILE_ROWS = 20, 2_000
_PAGE = 2_000
_CLOCK_SLACK_MS = -60_000


class Answer(NamedTuple):
    """What is read of a prediction."""

    id: UUID
    probability: float
    predicted: bool
    scoring_job_id: int | None


def queue_check(*, without_anonymous: bool = False) -> PerformanceCheck:
    """Return a queued check of the champion, of all its answers or but those to people who had not signed in.

    Raises Conflict.
    """
    if ModelVersion.objects.champion() is None:
        raise Conflict(_("There is no champion yet: train a model first."))
    if PerformanceCheck.objects.open().exists():
        raise Conflict(_("A performance check is under way already: wait for it."))
    return PerformanceCheck(without_anonymous=without_anonymous).queue_new()


def check(job: PerformanceCheck) -> None:
    """Measure and estimate the champion's performance, and store what was found."""
    with job.running():
        champion = ModelVersion.objects.champion()
        if champion is None:
            raise Conflict(_("There is no champion yet: train a model first."))
        job.begin_stage(gettext_noop("Measure and estimate"))
        report = make_report(champion, without_anonymous=job.without_anonymous)
        measured = report.overall.figures if report.overall else PerformanceFigures()
        job.begin_stage(gettext_noop("Store the figures"))
        with transaction.atomic():
            job.claimed().update(
                version=champion,
                figures=msgspec.to_builtins(report),
                outcome_count=report.overall.count if report.overall else 0,
                accuracy=_value(measured.accuracy),
                brier=_value(measured.brier),
                estimated_accuracy=_value(report.live.estimated.accuracy),
                known_share=report.live.known_share,
            )
            job.complete()


def _value(figure: Estimate | None) -> float | None:
    return None if figure is None else figure.value


def scheduled_check() -> PerformanceCheck | None:
    """Check now; return None where there is nothing to check yet."""
    try:
        job = queue_check()
    except Conflict as reason:
        logger.info("no performance check: %s", reason.message)
        return None
    check(job)
    return job


def latest() -> PerformanceCheck | None:
    """Return the last check of all the champion's answers; None before the first. Its figures are loaded when read."""
    checks = PerformanceCheck.objects.succeeded().filter(version__stage=Stage.CHAMPION, without_anonymous=False)
    # Metrics and alerts read it again and again.
    return checks.select_related("version").only(*SUMMARY, "finished_at", "version__version").first()


def make_report(champion: ModelVersion, *, without_anonymous: bool) -> PerformanceReport:
    """Measure the champion on its latest outcomes, and estimate it on its latest predictions."""
    answers = latest_live_answers(champion, without_anonymous=without_anonymous)
    count = min(max(len(answers) // SMALLEST_CHUNK, 1), MOST_CHUNKS)
    parts = [answers[len(answers) * part // count : len(answers) * (part + 1) // count] for part in range(count)]
    jobs = ScoringJob.objects.succeeded().filter(model_version=champion.version)[:FILES]
    with connection.cursor() as cursor:
        first = lowest_id(champion.created_at, slack_ms=_CLOCK_SLACK_MS)
        cursor.execute(LATEST_OUTCOMES, [champion.version, without_anonymous, first, OUTCOMES])
        outcomes = cursor.fetchall()
    overall, by_slice, by_channel = _groups(outcomes, champion.evaluation) if outcomes else (None, [], [])
    return PerformanceReport(
        expected=expected_figures(champion.evaluation),
        live=_window(parts),
        files=_window([_answers_of_file(job) for job in reversed(jobs)]),
        overall=overall,
        slices=by_slice,
        channels=by_channel,
    )


def latest_live_answers(champion: ModelVersion, *, without_anonymous: bool = False) -> list[Answer]:
    """Read the champion's latest predictions that came in no file, the oldest first."""
    answers: list[Answer] = []
    chosen = Prediction.objects.filter(model_version=champion.version)
    chosen = chosen.filter(anonymous=False) if without_anonymous else chosen
    predictions = chosen.order_by("-id").values_list(*Answer._fields)
    page = predictions[:_PAGE]
    while len(answers) < PREDICTIONS and (rows := [Answer(*row) for row in page]):
        answers += [row for row in rows if row.scoring_job_id is None]
        last = rows[-1]
        # The ids of a file's rows begin with one moment: its other rows, millions perhaps, are passed over.
        below = last.id if last.scoring_job_id is None else lowest_id(made_at(last.id))
        page = predictions.filter(id__lt=below)[:_PAGE]
    return answers[:PREDICTIONS][::-1]


def _answers_of_file(job: ScoringJob) -> list[Answer]:
    rows = Prediction.objects.filter(scoring_job_id=job.pk).order_by("id").values_list(*Answer._fields)
    return [Answer(*row) for row in rows[:FILE_ROWS]]


def _window(parts: Sequence[Sequence[Answer]]) -> PredictionWindow:
    """Estimate the figures of each part and of all, and measure those whose outcome is known."""
    # scikit-learn and scipy stay out of the web process.
    from monitoring.performance_estimation import estimated, realised

    chunks: list[PredictionChunk] = []
    for part in filter(None, parts):
        outcomes = dict(Outcome.objects.filter(pk__in=[row.id for row in part]).values_list("pk", "actual"))
        known = [row for row in part if row.id in outcomes]
        chunk = PredictionChunk(
            start=made_at(part[0].id),
            end=made_at(part[-1].id),
            count=len(part),
            known_count=len(known),
            estimated=estimated(*_arrays(part)),
            realised=realised(np.array([outcomes[row.id] for row in known], dtype=bool), *_arrays(known)),
            scoring_job=part[0].scoring_job_id,
        )
        chunks.append(chunk)
    whole = [row for part in parts for row in part]
    return PredictionWindow(
        count=len(whole),
        known_count=sum(chunk.known_count for chunk in chunks),
        estimated=estimated(*_arrays(whole)),
        chunks=chunks,
    )


def _arrays(answers: Sequence[Answer]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return probabilities and verdicts, each of shape (n,)."""
    probabilities = np.array([row.probability for row in answers], dtype=np.float64)
    return probabilities, np.array([row.predicted for row in answers], dtype=bool)


def _groups(
    rows: Sequence[Row], metrics: Metrics
) -> tuple[GroupPerformance, list[GroupPerformance], list[GroupPerformance]]:
    """Measure n > 0 rows of `LATEST_OUTCOMES` in all, by slice and by channel."""
    import pandas as pd

    from monitoring.performance_estimation import group

    labels, probabilities, predicted, channels = (np.array(column) for column in list(zip(*rows, strict=True))[:4])
    features = pd.DataFrame(derive(schema.columns_from_rows([row[4:] for row in rows])), columns=list(FEATURES))
    expected, expected_of_slice = expected_figures(metrics), expected_by_slice(metrics)

    def measured(name: str, members: NDArray[np.bool_], expected: PerformanceFigures) -> GroupPerformance:
        return group(name, labels[members], probabilities[members], predicted[members], expected=expected)

    return (
        measured("", np.ones(len(rows), dtype=bool), expected),
        [
            measured(name, members, expected_of_slice.get(name, PerformanceFigures()))
            for name, members in slices(features).items()
            if members.any()
        ],
        [measured(name, channels == name, expected) for name in np.unique(channels).tolist()],
    )


# Ids are ordered by time. Each is looked up by itself: a join may be planned as a scan of every month of the log.
LATEST_OUTCOMES = f"""
    SELECT o.actual, p.probability, p.predicted, p.source, {", ".join(f'p."{name}"' for name in FIELD_NAMES)}
      FROM {Outcome._meta.db_table} o
           CROSS JOIN LATERAL (
               SELECT * FROM {Prediction._meta.db_table}
                WHERE id = o.prediction_id AND model_version = %s AND NOT (anonymous AND %s) LIMIT 1
           ) p
     WHERE o.prediction_id >= %s
     ORDER BY o.prediction_id DESC
     LIMIT %s
"""  # noqa: S608 - names of tables and columns are the code's own
