"""The names of schedules, which a person may change, in messages."""

from django_celery_beat.models import PeriodicTask

from core.messages import Message

#: The names of schedules of which there are several: each is stored in English, filled in.
_TITLES = {"source": Message("Fetch new data: %(source)s"), "queue": Message("Queue heartbeat: %(queue)s")}


def schedule_title(schedule: PeriodicTask) -> Message:
    """Return what a schedule is called; a name that a person gave is shown as it is."""
    for name, title in _TITLES.items():
        prefix = title.text.removesuffix(f"%({name})s")
        if schedule.name.startswith(prefix):
            return title % {name: schedule.name.removeprefix(prefix)}
    return Message(schedule.name)
