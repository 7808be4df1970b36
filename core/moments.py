"""Moments in requests, read alike in every channel."""

from datetime import UTC, datetime

from django import forms
from rest_framework import serializers


def parse(text: str) -> datetime | None:
    """Parse ISO 8601 into UTC, which is also the zone where none is named; return None where it cannot be read.

    >>> parse("2026-11-01T12:00+02:00"), parse("2026-11-01T24:00"), parse("0001-01-01T00:00:00+23:59")
    (datetime.datetime(2026, 11, 1, 10, 0, tzinfo=datetime.timezone.utc), None, None)
    """
    if not text.isprintable():
        # Python ignores what follows a NUL.
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        # Within the calendar in its own zone, but not in UTC, in which PostgreSQL stores it.
        return None


class MomentField(serializers.DateTimeField):
    """A moment in a request to the API."""

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
