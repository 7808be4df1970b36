"""Celery's doors into monitoring."""

from monitoring import alerts, services
from monitoring.models import DriftCheck
from titanic_site.lib.tasks import job_task


@job_task(queue="default")
def check_drift(*, check_id: int) -> None:
    """Run one drift check."""
    services.check_drift(DriftCheck.objects.get(pk=check_id))


@job_task(queue="default")
def scheduled_check() -> None:
    """Check drift when there is something to check."""
    services.scheduled_check()


@job_task(queue="fast")
def watch() -> None:
    """Raise and resolve alerts."""
    alerts.watch()
