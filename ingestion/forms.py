"""Ingestion's forms: a new dataset, a source, a corrected row."""

from datetime import timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy

from ingestion import sources, transports
from ingestion.models import INGEST_OPTIONS, Dataset, Source
from ingestion.schema import VERBOSE_NAMES


class AddressForm(forms.Form):
    """An address to load once."""

    uri = forms.CharField(
        label=gettext_lazy("Address"),
        max_length=1000,
        help_text=gettext_lazy("A file in the inbox, gs://bucket/object or https://…"),
    )


class UploadForm(forms.Form):
    """A file from the person's computer."""

    file = forms.FileField(
        label=gettext_lazy("CSV file"),
        help_text=gettext_lazy("UTF-8, headings in the first line; may be compressed with gzip."),
        widget=forms.FileInput(attrs={"accept": ".csv,.gz,text/csv"}),
    )


class CorrectedForm(UploadForm):
    """Rejected rows that a person corrected."""

    file = forms.FileField(
        label=gettext_lazy("Corrected rows"),
        help_text=gettext_lazy("The downloaded file with corrections; the column “line” names the row."),
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}),
    )


class Interval(models.IntegerChoices):
    """How often a source is checked, in minutes; any other interval is set on its schedule in the admin."""

    FIVE_MINUTES = 5, gettext_lazy("Every five minutes")
    HOUR = 60, gettext_lazy("Every hour")
    DAY = 1440, gettext_lazy("Every day")
    WEEK = 10080, gettext_lazy("Every week")


_UNCHANGED = ""


class SourceForm(forms.ModelForm):  # type: ignore[type-arg]
    """A source with its schedule."""

    #: Whether this person may name a database.
    databases = False

    every = forms.TypedChoiceField(
        label=gettext_lazy("Checked"), required=False, coerce=int, empty_value=None,
        choices=[(_UNCHANGED, gettext_lazy("As its schedule says")), *Interval.choices],
    )  # fmt: skip
    is_enabled = forms.BooleanField(label=gettext_lazy("Checked on schedule"), required=False, initial=True)

    class Meta:
        model = Source
        fields = ("name", "uri", "every", "is_enabled", *INGEST_OPTIONS, "keep_count")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["headings"].widget.attrs["rows"] = 3
        source = self.instance
        if source.pk:
            self.initial["is_enabled"] = source.is_enabled
            interval = source.schedule.interval if source.schedule else None
            minutes = interval.schedule.run_every.total_seconds() / 60 if interval else None
            self.initial["every"] = int(minutes) if minutes in Interval.values else _UNCHANGED
        else:
            self.initial["every"] = Interval.HOUR
        if source.pk and source.is_database and not self.databases:
            self.fields["uri"].disabled = True
            self.initial["uri"] = source.address

    def clean_uri(self) -> str:
        """Return the whole address, if this person may name it."""
        if self.fields["uri"].disabled:
            return str(Source.objects.values_list("uri", flat=True).get(pk=self.instance.pk))
        try:
            return transports.check(self.cleaned_data["uri"], databases=self.databases)
        except transports.SourceError as error:
            raise ValidationError(error.message) from error

    def clean_headings(self) -> dict[str, str]:
        """Return the headings; empty where every column has its own name."""
        return self.cleaned_data["headings"] or {}

    def save_with_schedule(self) -> Source:
        """Save the source and its schedule."""
        every = self.cleaned_data["every"]
        source: Source = self.instance
        sources.save(
            source,
            every=timedelta(minutes=every) if every else None,
            is_enabled=self.cleaned_data["is_enabled"],
        )
        return source


class DatabaseSourceForm(SourceForm):
    """A source that may be in a database."""

    databases = True


class RowForm(forms.Form):
    """A rejected row's cells as text; the contract validates them."""

    def __init__(self, *args: Any, dataset: Dataset, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in dataset.table_fields:
            label = VERBOSE_NAMES[field.name]
            self.fields[field.name] = forms.CharField(label=label, required=False, strip=False, max_length=10_000)
