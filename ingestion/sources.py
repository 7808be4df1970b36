"""Sources that are checked on schedule, each with a schedule of its own."""

import json
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import override
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from core import audit
from core.errors import Conflict
from core.models import Action
from core.roles import Scope, Scopes
from ingestion.apps import IngestionConfig
from ingestion.models import INGEST_OPTIONS, Source

DEFAULT = "default"
DEFAULT_EVERY = timedelta(hours=1)


def default() -> Source:
    """Return the source of SOURCE_URI; one that exists is never overwritten."""
    source = Source.objects.filter(name=DEFAULT).first()
    if source is None:
        source = Source(name=DEFAULT, uri=settings.SOURCE_URI)
        save(source, every=DEFAULT_EVERY, is_enabled=True)
    return source


def may_change(source: Source, *, scopes: Scopes) -> bool:
    """Tell whether a person with these scopes may change the source: a database is an administrator's."""
    return Scope.ADMIN in scopes or not source.is_database


@transaction.atomic
def save(source: Source, *, every: timedelta | None, is_enabled: bool) -> None:
    """Save the source and its schedule; with `every` None a schedule stays as a person edited it."""
    earlier = Source.objects.select_related("schedule__interval").filter(pk=source.pk).first()
    source.save()
    if source.schedule is None:
        every = every or DEFAULT_EVERY
    schedule = source.schedule or PeriodicTask(
        task=IngestionConfig.fetch_task.name,
        queue=IngestionConfig.fetch_queue,
        kwargs=json.dumps({"source_id": source.pk}),
    )
    # The stored name is the same for readers of every language.
    with override(settings.LANGUAGE_CODE):
        schedule.name = _("Fetch new data: %(source)s") % {"source": source}
    schedule.enabled = is_enabled
    if every is not None:
        seconds = int(every.total_seconds())
        schedule.interval, _is_new = IntervalSchedule.objects.get_or_create(
            every=seconds, period=IntervalSchedule.SECONDS
        )
        schedule.crontab = schedule.solar = schedule.clocked = None
        schedule.expire_seconds = seconds
    schedule.save()
    if source.schedule is None:
        source.schedule = schedule
        source.save(update_fields=["schedule"])
    now, before = _settings_of(source), _settings_of(earlier) if earlier else {}
    audit.record(
        Action.CHANGED if earlier else Action.ADDED,
        source,
        before={name: value for name, value in before.items() if value != now[name]},
        after={name: value for name, value in now.items() if value != before.get(name)},
    )


@transaction.atomic
def remove(source: Source) -> None:
    """Delete the source and its schedule; its datasets stay. Raises Conflict while one is being loaded."""
    if source.datasets.open().exists():
        raise Conflict(_("%(source)s is being loaded: wait for it, or cancel it.") % {"source": source})
    audit.record(Action.DELETED, source, before=_settings_of(source))
    if source.schedule:
        source.schedule.delete()
    source.delete()


def _settings_of(source: Source) -> dict[str, object]:
    """Return what a person set, the address without its password."""
    values = {name: getattr(source, name) for name in ("name", "address", *INGEST_OPTIONS, "keep_count", "is_enabled")}
    return values | {"checked": str(source.schedule.schedule) if source.schedule else ""}
