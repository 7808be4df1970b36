"""Celery tasks of the features."""

from core.tasks import job_task
from features import services
from features.models import FeatureBatch


@job_task(queue="default")
def build(*, batch_id: int) -> None:
    """Build one feature batch."""
    services.build(FeatureBatch.objects.get(pk=batch_id))


@job_task(queue="default")
def repair() -> None:
    """Rebuild the current batch if Redis has lost it."""
    services.repair()
