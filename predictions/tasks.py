"""The Celery tasks of predictions."""

from core.tasks import job_task
from predictions import log, partitions, scoring, shadow
from predictions.models import ScoringJob


@job_task(queue="scoring")
def score(*, job_id: int) -> None:
    """Score one file."""
    scoring.score(ScoringJob.objects.get(pk=job_id))


@job_task(queue="scoring")
def score_parts(*, job_id: int) -> None:
    """Score parts of a file that another worker began."""
    scoring.score_parts(job_id)


@job_task(queue="fast")
def drain() -> None:
    """Write the prediction log's stream to PostgreSQL."""
    log.drain()


@job_task(queue="default")
def maintain_log() -> None:
    """Create the log's coming partitions and drop old ones."""
    partitions.maintain()


@job_task(queue="scoring")
def shadow_scoring() -> None:
    """Score with each challenger the predictions logged since the last run."""
    shadow.score_all()
