"""Moments in requests, read alike in every channel."""

from datetime import UTC, datetime

from django import forms
from django.utils import timezone
from django.utils.formats import date_format, get_format
from rest_framework import serializers

#: How a moment is shown: by the formats of the reader's language, to the minute unless a template asks for another.
_FORMS = {
    "": "SHORT_DATETIME_FORMAT",
    "seconds": "DATETIME_FORMAT",
    "day": "SHORT_DATE_FORMAT",
    "time": "TIME_FORMAT",
    "clock": "H:i:s",
}


def parse(text: str) -> datetime | None:
    """Parse ISO 8601 into UTC; return None where it cannot be read.

    Where it names no zone it is in the one that the visitor has chosen, which is UTC in the API.

    >>> parse("2026-11-01T12:00+02:00"), parse("2026-11-01T24:00"), parse("0001-01-01T00:00:00+23:59")
    (datetime.datetime(2026, 11, 1, 10, 0, tzinfo=datetime.timezone.utc), None, None)
    """
    if not text.isprintable():
        # Python ignores what follows a NUL.
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.get_current_timezone())).astimezone(UTC)
    except (ValueError, OverflowError):
        # Within the calendar in its own zone, but not in UTC, in which PostgreSQL stores it.
        return None


def shown(at: datetime | None, form: str = "") -> str:
    """Format a moment in the visitor's time zone, in one of the forms above; "zone" after it names the zone.

    >>> shown(datetime(2026, 11, 1, 12, tzinfo=UTC)), shown(datetime(2026, 11, 1, 12, tzinfo=UTC), "seconds zone")
    ('1 Nov 2026, 12:00', '1 Nov 2026, 12:00:00 UTC')
    """
    if at is None:
        return "–"
    zone = " T" if form.endswith("zone") else ""
    return date_format(timezone.localtime(at), get_format(_FORMS[form.removesuffix("zone").strip()]) + zone)


#: What the schema says of a moment.
HELP = "ISO 8601, in UTC unless it names a zone; a day alone is its start."


class MomentField(serializers.DateTimeField):
    """A moment in a request to the API."""

    def __init__(self, *, required: bool = False, source: str | None = None) -> None:
        super().__init__(required=required, source=source, help_text=HELP)

    def to_internal_value(self, value: object) -> datetime:
        moment = parse(str(value))
        if moment is None:
            self.fail("invalid", format="YYYY-MM-DDThh:mm:ss+hh:mm")
        return moment


class MomentFormField(forms.DateTimeField):
    """A moment in a form, without a zone as browsers send it."""

    def to_python(self, value: object) -> datetime | None:
        if value in self.empty_values:
            return None
        moment = parse(str(value))
        if moment is None:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        return moment


class MomentInput(forms.DateTimeInput):
    """A browser's picker of date and time, which shows each moment that can be read, in the visitor's time zone."""

    input_type = "datetime-local"

    def format_value(self, value: object) -> str | None:
        """Return the moment as the picker wants it: without a zone."""
        moment = parse(str(value)) if value else None
        if moment is None:
            return None if value is None else str(value)
        local = timezone.localtime(moment).replace(tzinfo=None)
        return local.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
