"""Celery tasks of ingestion."""

from core.tasks import job_task
from ingestion import retention, services
from ingestion.models import Dataset


@job_task(queue="default")
def ingest(*, dataset_id: int) -> None:
    """Load one dataset."""
    services.ingest(Dataset.objects.get(pk=dataset_id))


@job_task(queue="default")
def archive_old() -> None:
    """Archive what is beyond each source's number of datasets to keep."""
    retention.archive_old()
