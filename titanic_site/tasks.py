"""Celery's doors into what spans the apps."""

from core import heartbeat as canaries
from core import jobs
from core.tasks import job_task
from ingestion.models import Source
from titanic_site import pipeline


@job_task(queue="training", is_short=False)
def run_pipeline() -> None:
    """From the newest data to a judged model."""
    pipeline.run()


@job_task(queue="training", is_short=False)
def fetch(*, source_id: int) -> None:
    """Load what is new at a source, and learn from it."""
    pipeline.fetch(Source.objects.get(pk=source_id))


@job_task(queue="training", is_short=False)
def retrain() -> None:
    """Train anew."""
    pipeline.retrain()


@job_task(queue="default")
def expire_features() -> None:
    """Let old feature batches go from Redis."""
    pipeline.expire_features()


@job_task(queue="fast")
def sweep() -> None:
    """Close what dead workers left, send again what nobody took."""
    jobs.sweep()


@job_task(queue="fast")
def canary(*, queue: str) -> None:
    """Answer for a queue; each schedule sends it to its own."""
    canaries.answer(queue)
