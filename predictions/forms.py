"""The prediction form, derived from the declaration of a passenger."""

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Any, Self, cast

from django import forms
from django.db import models
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from core.moments import MomentFormField
from ingestion import schema
from ingestion.contract import Field
from ingestion.forms import TABLE_HELP, TABLE_TYPES, ReadingForm
from ingestion.passenger import DERIVABLE, LABEL, PassengerFields
from ingestion.schema import FIELDS
from predictions import erasure, explanation
from predictions.models import REFERENCE


class PassengerField(forms.CharField):
    """A field of the contract: keeps the text as typed, and tells the browser the limits."""

    def __init__(self, field: Field) -> None:
        column = cast("models.Field[object, object]", PassengerFields._meta.get_field(field.name))
        super().__init__(
            label=column.verbose_name,
            help_text=column.help_text,
            required=False,
            strip=False,
            widget=forms.NumberInput if field.is_numeric else forms.TextInput,
            initial="" if field.default is None else field.default,
        )
        attributes: dict[str, object] = {
            "required": field.is_required,
            "maxlength": field.max_length,
            # What is wrong stands there as soon as it is typed; the help opens beside the label.
            "aria-describedby": f"id_{field.name}_error id_{field.name}_helptext",
        }
        if field.choices:
            empty = _("From the name") if field.name in DERIVABLE else _("Unknown")
            choices = [("", _("Choose…") if field.is_required else empty), *(column.choices or ())]
            self.widget = forms.Select(choices=choices)
        elif field.is_numeric:
            step, keyboard = (1, "numeric") if field.is_integer else ("any", "decimal")
            attributes |= {"min": field.minimum, "max": field.maximum, "step": step, "inputmode": keyboard}
        self.widget.attrs.update({name: value for name, value in attributes.items() if value is not None})


class PassengerForm(forms.Form):
    """The fields of a passenger as text; the contract checks them, not the form."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields = {field.name: PassengerField(field) for field in FIELDS}

    @classmethod
    def filled_with(cls, row: Mapping[str, object]) -> Self:
        """Build a form to start from, with the values of a row; the unknown stay empty."""
        return cls(initial={name: "" if value is None else value for name, value in row.items()})

    def values(self) -> dict[str, str]:
        """Return what stands in the fields, as a browser would post it."""
        return {field.name: "" if field.value() is None else str(field.value()) for field in self}

    def add_errors(self, errors: Mapping[str, list[tuple[str, str]]]) -> None:
        """Show each error beside its field, or above the form when the form has no such field."""
        for name, texts in errors.items():
            is_shown = name in self.fields
            for _code, message in texts:
                self.add_error(name if is_shown else None, message if is_shown else f"{name}: {message}")
        first = next((field for name, field in self.fields.items() if name in errors), None)
        if first is not None:
            first.widget.attrs["autofocus"] = True


class DayForm(forms.Form):
    """A day of the past, or today."""

    on = MomentFormField(label=_("On the day"), widget=forms.DateInput(attrs={"type": "date"}))

    def clean_on(self) -> datetime:
        """Return the end of the day, or now; raises ValidationError for a day to come."""
        moment: datetime = self.cleaned_data["on"]
        now = timezone.now()
        if moment > now:
            raise forms.ValidationError(_("This day is still to come."))
        return min(now, moment + timedelta(days=1) if moment.time() == time.min else moment)


class OutcomesForm(forms.Form):
    """A file of outcomes."""

    file = forms.FileField(
        label=_("What really happened, as a file"),
        help_text=format_lazy(
            _(
                "A CSV file with the columns prediction_id, or reference, and {label} (true or false, 1 or 0; empty "
                "where it is not known), such as a scoring job’s results with {label} filled in."
            ),
            label=LABEL,
        ),
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}),
    )


class PersonForm(forms.Form):
    """What a person's predictions are found by."""

    field = forms.ChoiceField(
        label=_("Find by"),
        choices=[
            (name, ({erasure.ID: _("Id"), REFERENCE.name: _("Reference")} | schema.VERBOSE_NAMES)[name])
            for name in erasure.FIELDS
        ],
    )
    value = forms.CharField(label=_("Value"), help_text=_("Exactly as it was sent."), max_length=500)


class ScoringForm(ReadingForm):
    """A file to score."""

    field_order = ("file", "explain")

    file = forms.FileField(label=_("File"), help_text=TABLE_HELP, widget=forms.FileInput(attrs={"accept": TABLE_TYPES}))
    explain = forms.BooleanField(
        label=_("Explain each answer"),
        help_text=format_lazy(
            _("Each field's contribution, in columns of their own; for files of up to {most} rows."),
            most=f"{explanation.MAX_ROWS:,}",
        ),
        required=False,
    )
