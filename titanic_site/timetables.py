"""When a schedule runs: in words, and as the next moments."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from core.moments import shown

#: Crontab's number of each day, and what one calls all of them; the week begins on Monday.
DAYS = {
    "1": gettext_lazy("Mondays"),
    "2": gettext_lazy("Tuesdays"),
    "3": gettext_lazy("Wednesdays"),
    "4": gettext_lazy("Thursdays"),
    "5": gettext_lazy("Fridays"),
    "6": gettext_lazy("Saturdays"),
    "0": gettext_lazy("Sundays"),
}
_WORKING_DAYS = {"1", "2", "3", "4", "5"}
#: The fields of a crontab in the order in which one writes them.
CRONTAB_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
#: What a crontab raises that names a day that no year has.
_NEVER = (RuntimeError, ValueError, OverflowError)


def in_words(schedule: PeriodicTask) -> str:
    """Say when the schedule runs, such as “every hour” or “Mondays at 06:00”."""
    if schedule.interval:
        return _interval_in_words(schedule.interval)
    if schedule.crontab:
        return _crontab_in_words(schedule.crontab)
    if schedule.clocked:
        return _("once, at %(moment)s") % {"moment": shown(schedule.clocked.clocked_time)}
    return str(schedule.scheduler)


def next_runs(schedule: PeriodicTask, *, now: datetime, count: int = 5) -> list[datetime]:
    """Return the next moments at which the schedule is due; none while it is off."""
    if not schedule.enabled:
        return []
    moments = _after(schedule, now=now, count=1 if schedule.one_off else count)
    return [moment for moment in moments if schedule.expires is None or moment < schedule.expires]


def week_time(crontab: CrontabSchedule | None) -> tuple[list[str], str] | None:
    """Return the days and the time (HH:MM) of a crontab that names nothing else; None for any other.

    >>> week_time(CrontabSchedule(minute="5", hour="6", day_of_week="0,1-2"))
    (['1', '2', '0'], '06:05')
    >>> week_time(CrontabSchedule(minute="*/5", hour="6"))
    """
    if crontab is None or not (crontab.minute.isdigit() and crontab.hour.isdigit()):
        return None
    if (crontab.day_of_month, crontab.month_of_year) != ("*", "*"):
        return None
    numbers = crontab.schedule.day_of_week
    return [day for day in DAYS if int(day) in numbers], f"{int(crontab.hour):02}:{int(crontab.minute):02}"


def crontab_text(crontab: CrontabSchedule) -> str:
    """Write a crontab as one line."""
    return " ".join(getattr(crontab, name) for name in CRONTAB_FIELDS)


def crontab_moments(crontab: CrontabSchedule, *, after: datetime, count: int) -> list[datetime]:
    """Return the next moments of a crontab; none where no year has them."""
    moments: list[datetime] = []
    with suppress(*_NEVER):
        while len(moments) < count:
            start, delta, _now = crontab.schedule.remaining_delta(moments[-1] if moments else after)
            moments.append((start + delta).astimezone(UTC))
    return moments


def _interval_in_words(interval: IntervalSchedule) -> str:
    seconds = interval.schedule.run_every.total_seconds()
    if seconds and seconds % 86_400 == 0:
        count = int(seconds // 86_400)
        text = ngettext("every day", "every %(count)s days", count)
    elif seconds and seconds % 3_600 == 0:
        count = int(seconds // 3_600)
        text = ngettext("every hour", "every %(count)s hours", count)
    elif seconds and seconds % 60 == 0:
        count = int(seconds // 60)
        text = ngettext("every minute", "every %(count)s minutes", count)
    elif seconds >= 1:
        count = int(seconds)
        text = ngettext("every second", "every %(count)s seconds", count)
    else:
        return str(interval)
    return text % {"count": count}


def _crontab_in_words(crontab: CrontabSchedule) -> str:
    zone = str(crontab.timezone)
    # Where the page's other times are in this zone too, it needs no name.
    suffix = "" if zone == timezone.get_current_timezone_name() else f" ({zone})"
    weekly = week_time(crontab)
    if weekly is None:
        return _("as the crontab %(crontab)s says") % {"crontab": crontab_text(crontab)} + suffix
    days, time = weekly
    if len(days) == len(DAYS):
        text = _("every day at %(time)s") % {"time": time}
    elif set(days) == _WORKING_DAYS:
        text = _("Monday to Friday at %(time)s") % {"time": time}
    else:
        text = _("%(days)s at %(time)s") % {"days": ", ".join(str(DAYS[day]) for day in days), "time": time}
    return text + suffix


def _after(schedule: PeriodicTask, *, now: datetime, count: int) -> list[datetime]:
    # As the scheduler counts: one that never ran begins where it was changed.
    last = schedule.last_run_at or schedule.date_changed or now
    begin = max(last, schedule.start_time or last)
    if schedule.interval:
        every: timedelta = schedule.interval.schedule.run_every
        first = max(begin if begin > last else last + every, now)
        return [first + every * index for index in range(count)]
    if schedule.crontab:
        return crontab_moments(schedule.crontab, after=max(begin, now), count=count)
    if schedule.clocked:
        return [schedule.clocked.clocked_time] if schedule.clocked.clocked_time > now else []
    return []
