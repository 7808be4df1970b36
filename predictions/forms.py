"""The prediction form, derived from the declaration of a passenger."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from ingestion.contract import Field
from ingestion.passenger import FIELDS, PassengerFields


def _form_field(rule: Field) -> forms.CharField:
    """Text that the contract will judge; the browser is told the same limits."""
    column: Any = PassengerFields._meta.get_field(rule.name)
    attributes: dict[str, Any] = {"required": True} if rule.is_required else {}
    widget: forms.Widget
    if rule.choices:
        unknown = _("Choose…") if rule.is_required else _("Unknown")
        widget = forms.Select(choices=[("", unknown), *column.choices], attrs=attributes)
    elif rule.is_numeric:
        limits = {"min": rule.minimum, "max": rule.maximum, "step": 1 if rule.is_integer else "any"}
        widget = forms.NumberInput(attrs={**attributes, **limits})
    else:
        widget = forms.TextInput(attrs={**attributes, "maxlength": rule.max_length})
    initial = rule.default if rule.default is not None else ""
    return forms.CharField(
        label=column.verbose_name, help_text=column.help_text, required=False, widget=widget, initial=initial
    )


class PassengerForm(forms.Form):
    """Everything that may be known of a passenger; checked by the contract, not here."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields = {rule.name: _form_field(rule) for rule in FIELDS}

    def refuse(self, errors: Mapping[str, list[tuple[str, str]]]) -> None:
        """Show each refusal beside its field; one of a field that is not here goes above the form."""
        for name, refusals in errors.items():
            for _code, message in refusals:
                self.add_error(
                    name if name in self.fields else None, message if name in self.fields else f"{name}: {message}"
                )


class ScoringForm(forms.Form):
    """A file to score."""

    file = forms.FileField(
        label=_("CSV file"),
        help_text=_("UTF-8, headings in the first line, one passenger a line."),
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}),
    )
