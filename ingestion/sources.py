"""The sources that are looked at again and again, each with a schedule of its own."""

import json
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import override
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from core.errors import Conflict
from ingestion.models import Source

DEFAULT = "default"
DEFAULT_EVERY = timedelta(hours=1)
# The task strings the steps together, from the table to the verdict: it is not ingestion's own.
_TASK = "titanic_site.tasks.fetch"
_QUEUE = "training"


def default() -> Source:
    """The source that SOURCE_URI names; made when missing, never overwritten."""
    found = Source.objects.filter(name=DEFAULT).first()
    if found is None:
        found = Source(name=DEFAULT, uri=settings.ENV.source_uri)
        save(found, every=DEFAULT_EVERY, is_enabled=True)
    return found


@transaction.atomic
def save(source: Source, *, every: timedelta | None, is_enabled: bool) -> None:
    """Keep the source and its schedule; without an interval, a schedule stays as a person edited it."""
    source.save()
    if source.schedule is None:
        every = every or DEFAULT_EVERY
    schedule = source.schedule or PeriodicTask(task=_TASK, queue=_QUEUE, kwargs=json.dumps({"source_id": source.pk}))
    # What is kept is read by others too.
    with override(settings.LANGUAGE_CODE):
        schedule.name = _("Fetch new data: %(source)s") % {"source": source}
    schedule.enabled = is_enabled
    if every is not None:
        seconds = int(every.total_seconds())
        schedule.interval, _made = IntervalSchedule.objects.get_or_create(
            every=seconds, period=IntervalSchedule.SECONDS
        )
        schedule.crontab = schedule.solar = schedule.clocked = None
        schedule.expire_seconds = seconds
    schedule.save()
    if source.schedule is None:
        source.schedule = schedule
        source.save(update_fields=["schedule"])


@transaction.atomic
def remove(source: Source) -> None:
    """Forget the source and its schedule; its datasets stay."""
    if source.datasets.open().exists():
        raise Conflict(_("%(source)s is being loaded: wait for it, or cancel it.") % {"source": source})
    if source.schedule:
        source.schedule.delete()
    source.delete()
