"""The prediction form, derived from the declaration of a passenger."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from ingestion.contract import Field
from ingestion.passenger import DERIVABLE, FIELDS, PassengerFields
from predictions import explanation


def _attributes(rule: Field) -> dict[str, Any]:
    """What the browser is told of the contract's limits; it helps the person, the contract judges."""
    attributes: dict[str, Any] = {"required": rule.is_required, "maxlength": rule.max_length}
    if rule.is_numeric and not rule.choices:
        step, keyboard = (1, "numeric") if rule.is_integer else ("any", "decimal")
        attributes |= {"min": rule.minimum, "max": rule.maximum, "step": step, "inputmode": keyboard}
    return {name: value for name, value in attributes.items() if value is not None}


def _widget(rule: Field, column: Any) -> forms.Widget:
    attributes = _attributes(rule)
    if rule.choices:
        unknown = _("From the name") if rule.name in DERIVABLE else _("Unknown")
        nothing = _("Choose…") if rule.is_required else unknown
        return forms.Select(choices=[("", nothing), *column.choices], attrs=attributes)
    return (forms.NumberInput if rule.is_numeric else forms.TextInput)(attrs=attributes)


def _form_field(rule: Field) -> forms.CharField:
    """Text, kept as it was typed."""
    column: Any = PassengerFields._meta.get_field(rule.name)
    return forms.CharField(
        label=column.verbose_name,
        help_text=column.help_text,
        required=False,
        strip=False,
        widget=_widget(rule, column),
        initial="" if rule.default is None else rule.default,
    )


class PassengerForm(forms.Form):
    """Everything that may be known of a passenger; checked by the contract, not here."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields = {rule.name: _form_field(rule) for rule in FIELDS}

    def refuse(self, errors: Mapping[str, list[tuple[str, str]]]) -> None:
        """Show each refusal beside its field; one of a field that is not here goes above the form."""
        for name, refusals in errors.items():
            is_here = name in self.fields
            for _code, message in refusals:
                self.add_error(name if is_here else None, message if is_here else f"{name}: {message}")
        wrong = next((field for name, field in self.fields.items() if name in errors), None)
        if wrong is not None:
            wrong.widget.attrs["autofocus"] = True


class OutcomesForm(forms.Form):
    """A file of what really happened."""

    file = forms.FileField(
        label=_("What really happened, as a file"),
        help_text=_("A CSV file with the columns id (of the prediction) and survived (true or false, 1 or 0)."),
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}),
    )


class ScoringForm(forms.Form):
    """A file to score."""

    file = forms.FileField(
        label=_("CSV file"),
        help_text=_("UTF-8, headings in the first line, one passenger a line."),
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}),
    )
    explain = forms.BooleanField(
        label=_("Explain each answer"),
        help_text=format_lazy(
            _("Each field's contribution, in columns of their own; for files of up to {most} rows."),
            most=f"{explanation.MAX_ROWS:,}",
        ),
        required=False,
    )
