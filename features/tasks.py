"""Celery's doors into the features."""

from core.tasks import job_task
from features import services
from features.models import FeatureBatch


@job_task(queue="default")
def build(*, batch_id: int) -> None:
    """Build one feature batch."""
    services.build(FeatureBatch.objects.get(pk=batch_id))


@job_task(queue="default")
def repair() -> None:
    """Rebuild what Redis has lost of the current batch."""
    services.repair()
