"""Celery's doors into ingestion."""

from ingestion import services
from ingestion.models import Dataset
from titanic_site.lib.tasks import job_task


@job_task(queue="default")
def ingest(*, dataset_id: int) -> None:
    """Load one dataset."""
    services.ingest(Dataset.objects.get(pk=dataset_id))
