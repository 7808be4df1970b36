"""Training as Celery tasks."""

from core.tasks import job_task
from training import services
from training.models import Reproduction, TrainingRun


@job_task(queue="training", is_short=False)
def train(*, run_id: int) -> None:
    """Train one version."""
    services.train(TrainingRun.objects.get(pk=run_id))


@job_task(queue="training", is_short=False)
def reproduce(*, reproduction_id: int) -> None:
    """Reproduce one version."""
    services.reproduce(Reproduction.objects.get(pk=reproduction_id))
