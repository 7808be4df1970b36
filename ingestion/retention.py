"""Archiving: a dataset's rows go, what it was and what was made of it stays."""

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from core.errors import Conflict
from ingestion import partitions
from ingestion.models import Dataset, Source


def archive(dataset: Dataset) -> None:
    """Drop the dataset's rows; raises Conflict where something living stands on them."""
    with transaction.atomic():
        found = Dataset.objects.select_for_update().get(pk=dataset.pk)
        if found.is_open:
            raise Conflict(_("%(dataset)s is being loaded: wait for it, or cancel it.") % {"dataset": dataset})
        if not Dataset.objects.archivable().filter(pk=dataset.pk).exists():
            message = _("%(dataset)s stays: it has no rows, or a model in use or the current features stand on them.")
            raise Conflict(message % {"dataset": dataset})
        partitions.drop(found)
        found.refused_rows.all().delete()
        found.archived_at = timezone.now()
        found.save(update_fields=["archived_at"])


def archive_old() -> list[Dataset]:
    """Archive what each source's rule allows, and return it."""
    archived = []
    for source in Source.objects.filter(keep_count__isnull=False):
        kept = source.datasets.succeeded().filter(archived_at__isnull=True)[: source.keep_count]
        old = source.datasets.archivable().exclude(pk__in=[dataset.pk for dataset in kept])
        for dataset in old:
            archive(dataset)
            archived.append(dataset)
    return archived
