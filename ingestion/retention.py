"""Archive datasets: their rows and uploaded files are deleted, profile and lineage stay."""

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from core import audit
from core.advisory_locks import AdvisoryLock, lock
from core.errors import Conflict
from core.models import Action
from ingestion import partitions
from ingestion.apps import IngestionConfig
from ingestion.models import Dataset, Source


def is_archivable(dataset: Dataset) -> bool:
    """Tell whether the dataset has rows or an uploaded file that nothing needs."""
    return Dataset.objects.archivable(in_use=IngestionConfig.datasets_in_use()).filter(pk=dataset.pk).exists()


def archive(dataset: Dataset) -> None:
    """Drop the dataset's rows and let go of its uploaded file; raises Conflict while they are in use."""
    with transaction.atomic():
        lock(AdvisoryLock.UPLOADS)
        dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
        if dataset.is_open:
            raise Conflict(_("%(dataset)s is being loaded: wait for it, or cancel it.") % {"dataset": dataset})
        if not is_archivable(dataset):
            message = _(
                "%(dataset)s stays: it has no rows and no file, or a model in use or the current features need them."
            )
            raise Conflict(message % {"dataset": dataset})
        partitions.drop(dataset)
        dataset.rejected_rows.all().delete()
        dataset.archived_at = dataset.archived_at or timezone.now()
        dataset.save(update_fields=["archived_at"])
        dataset.release_upload()
        audit.record(Action.ARCHIVED, dataset, before={"rows": dataset.row_count})


def archive_old() -> list[Dataset]:
    """Archive what is beyond each source's number of datasets to keep, and return it."""
    archived = []
    for source in Source.objects.filter(keep_count__isnull=False):
        newest = source.datasets.with_rows()[: source.keep_count]
        for dataset in source.datasets.archivable(in_use=IngestionConfig.datasets_in_use()).exclude(pk__in=newest):
            archive(dataset)
            archived.append(dataset)
    return archived
