"""Celery's doors into predictions."""

from core.tasks import job_task
from predictions import log, partitions, scoring, shadow
from predictions.models import ScoringJob


@job_task(queue="scoring")
def score(*, job_id: int) -> None:
    """Score one file."""
    scoring.score(ScoringJob.objects.get(pk=job_id))


@job_task(queue="scoring")
def help_to_score(*, job_id: int) -> None:
    """Take parts of a file that another worker is scoring."""
    scoring.help_with(job_id)


@job_task(queue="fast")
def drain() -> None:
    """Move the prediction stream into Postgres."""
    log.drain()


@job_task(queue="default")
def tend_log() -> None:
    """Make the log's months to come, drop the old."""
    partitions.tend()


@job_task(queue="scoring")
def score_in_the_shadow() -> None:
    """Score for the challengers what was asked since the last time."""
    shadow.score_all()
