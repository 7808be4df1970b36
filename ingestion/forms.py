"""Ingestion's forms: a new dataset, a source, a corrected row."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ingestion import contract, sources, transports
from ingestion.models import (
    INGEST_OPTIONS,
    READING_OPTIONS,
    Dataset,
    ReadingOptions,
    RowProblem,
    Source,
    validate_headings,
)
from ingestion.passenger import LABEL_WORDS
from ingestion.schema import CHOICES, HELP_TEXTS, VERBOSE_NAMES

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


class HeadingsField(forms.CharField):
    """Other headings of columns, a line each: `column = heading`."""

    widget = forms.Textarea

    def widget_attrs(self, widget: forms.Widget) -> dict[str, object]:
        return {**super().widget_attrs(widget), "rows": 2}

    def clean(self, value: object) -> dict[str, str]:
        """Return the headings by column."""
        lines = [line.partition("=") for line in super().clean(value).splitlines() if line.strip()]
        headings = {column.strip(): heading.strip() for column, _sign, heading in lines}
        validate_headings(headings)
        return headings


class MarkersField(forms.CharField):
    """Words for unknown, separated by blanks."""

    def clean(self, value: object) -> list[str]:
        """Return the markers."""
        return list(dict.fromkeys(super().clean(value).split()))


class ReadingForm(forms.Form):
    """How a table is read, where it is not as usual; `field_order` names the fields that are no such options."""

    field_order: Sequence[str] = ()

    headings = HeadingsField(
        label=gettext_lazy("Column mapping"),
        required=False,
        help_text=gettext_lazy("Where a column has another heading than its name: “column = heading”, a line each."),
    )
    ignores_headings = forms.BooleanField(
        label=gettext_lazy("Ignore other headings"),
        required=False,
        help_text=ReadingOptions._meta.get_field("ignores_headings").help_text,
    )
    markers = MarkersField(
        label=gettext_lazy("Missing-value markers"),
        required=False,
        help_text=gettext_lazy("Separated by blanks, instead of the usual ones (NA, NaN, NULL, ?, - and the like)."),
    )
    largest_problem_share = forms.FloatField(
        label=gettext_lazy("Largest share of rejected rows"), required=False, min_value=0, max_value=1,
        help_text=gettext_lazy("Above this share (0 to 1) the job fails. Empty is the usual one."),
    )  # fmt: skip

    @property
    def options(self) -> list[forms.BoundField]:
        """The fields that say how the table is read, which most people leave as they are."""
        return [self[name] for name in self.fields if name not in self.field_order]

    @property
    def questions(self) -> list[forms.BoundField]:
        """The other fields."""
        return [self[name] for name in self.field_order]

    @property
    def has_option_errors(self) -> bool:
        """Whether one of the options is wrong."""
        return any(field.errors for field in self.options)

    def reading_options(self) -> dict[str, object]:
        """Return the options as a job's fields; what was left empty keeps its default."""
        options = {field.name: self.cleaned_data[field.name] for field in self.options if field.name in READING_OPTIONS}
        return {name: value for name, value in options.items() if value is not None}


class IngestForm(ReadingForm):
    """How a table is read that is to be loaded."""

    no_label = forms.BooleanField(
        label=gettext_lazy("Without the label"), required=False,
        help_text=gettext_lazy("The table has no column of outcomes, such as a table of new rows."),
    )  # fmt: skip

    def ingest_options(self) -> dict[str, object]:
        """Return the options as a dataset's fields."""
        return {**self.reading_options(), "has_label": not self.cleaned_data["no_label"]}


class AddressForm(IngestForm):
    """An address to load once."""

    field_order = ("uri",)

    def __init__(self, data: QueryDict | None = None) -> None:
        # Another form with the same options stands on the same page.
        super().__init__(data, auto_id="id_address_%s")

    uri = forms.CharField(
        label=gettext_lazy("Address"),
        max_length=1000,
        help_text=gettext_lazy("A file in the inbox, gs://bucket/object or https://…"),
    )


#: What a table may be, as people read it, and as browsers choose files.
TABLE_HELP = gettext_lazy(
    "CSV, Excel (.xlsx), Parquet, JSON lines or JSON, headings in the first line; may be compressed with gzip or zip."
)
TABLE_TYPES = ".csv,.tsv,.txt,.xlsx,.parquet,.json,.jsonl,.ndjson,.gz,.zip"


class UploadForm(IngestForm):
    """A file from the person's computer."""

    field_order = ("file",)

    file = forms.FileField(
        label=gettext_lazy("File"), help_text=TABLE_HELP, widget=forms.FileInput(attrs={"accept": TABLE_TYPES})
    )


class CorrectedForm(forms.Form):
    """Rejected rows that a person corrected."""

    file = forms.FileField(
        label=gettext_lazy("Corrected rows"),
        help_text=gettext_lazy("The downloaded file with corrections; the column “line” names the row."),
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}),
    )


class Interval(models.IntegerChoices):
    """How often a source is checked, in minutes; any other timetable is set on its schedule's page."""

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
        for name in ("headings", "markers"):
            self.fields[name].widget.attrs["rows"] = 3
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
            raise ValidationError(str(error.message)) from error

    def clean_headings(self) -> dict[str, str]:
        """Return the headings; empty where every column has its own name."""
        return self.cleaned_data["headings"] or {}

    def clean_markers(self) -> list[str]:
        """Return the markers; empty where they are the usual ones."""
        return self.cleaned_data["markers"] or []

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
    """A rejected row's cells as text, with what is wrong beside the cell; the contract validates them."""

    def __init__(self, *args: Any, dataset: Dataset, problems: Iterable[RowProblem] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Why the row was rejected, by field; under an empty name what is wrong with the whole row.
        self.reasons: dict[str, list[str]] = {}
        for problem in problems:
            name = problem.column if any(problem.column == each.name for each in dataset.table_fields) else ""
            self.reasons.setdefault(name, []).append(problem.reason)
        for field in dataset.table_fields:
            cell = forms.CharField(
                label=VERBOSE_NAMES[field.name], required=False, strip=False, max_length=10_000,
                help_text=HELP_TEXTS[field.name], widget=self._widget(field),
            )  # fmt: skip
            if field.name in self.reasons and not self.is_bound:
                cell.widget.attrs.update({"aria-invalid": "true", "aria-describedby": f"id_{field.name}_reasons"})
                # The first wrong one, in the order of the table.
                cell.widget.attrs.update({} if self._is_focused() else {"autofocus": True})
            if field.is_required:
                cell.widget.attrs["aria-required"] = "true"
            self.fields[field.name] = cell

    def _is_focused(self) -> bool:
        return any("autofocus" in field.widget.attrs for field in self.fields.values())

    def _widget(self, field: contract.Field) -> forms.Widget:
        """Offer the choices of a field that has some; a rejected cell stays the chosen one until it is changed."""
        if not field.choices:
            return forms.TextInput()
        cell = str(self.data.get(field.name, "") if self.is_bound else self.initial.get(field.name, ""))
        words = CHOICES.get(field.name, {0: LABEL_WORDS[False], 1: LABEL_WORDS[True]})
        choices: list[tuple[str, StrOrPromise]] = [
            (str(choice), f"{choice} – {words.get(choice, choice)}") for choice in field.choices
        ]
        if cell.strip() not in dict(choices) and cell:
            choices.insert(0, (cell, _("“%(cell)s”, rejected") % {"cell": cell[:60]}))
        return forms.Select(choices=[("", _("Unknown")), *choices])
