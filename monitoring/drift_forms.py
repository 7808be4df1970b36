"""The forms of drift checks: which to list, the same on their page and in the API, and what to compare."""

from collections.abc import Mapping

from django import forms
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from rest_framework.request import Request

from core import moments
from core.errors import Invalid
from core.moments import MomentFormField
from monitoring.models import DriftCheck, DriftCheckQuerySet, Method
from predictions.filters import FLAGS, MAX_NUMBER, ParsedField, number
from predictions.models import Channel


class DriftCheckFilter(forms.Form):
    """Which checks to list; moments are those of their start."""

    channel = ParsedField(
        lambda text: text if text in dict(Channel.live()) else None,
        label=_("Channel"),
        widget=forms.Select(choices=[("", _("all")), *Channel.live()]),
    )
    model = ParsedField(
        number,
        label=_("Model"),
        widget=forms.NumberInput(attrs={"min": 1, "inputmode": "numeric", "placeholder": _("all")}),
    )
    since = ParsedField(moments.parse, label=_("Since"), widget=forms.DateTimeInput(attrs={"type": "datetime-local"}))
    until = ParsedField(moments.parse, label=_("Until"), widget=forms.DateTimeInput(attrs={"type": "datetime-local"}))
    drifted = ParsedField(
        lambda text: FLAGS.get(text.lower()),
        label=_("Verdict"),
        widget=forms.Select(choices=[("", _("all")), ("true", _("Drift")), ("false", _("No drift"))]),
    )
    method = ParsedField(
        lambda text: text if text in Method.values else None,
        label=_("Method"),
        widget=forms.Select(choices=[("", _("all")), *Method.choices]),
    )
    scoring_job = ParsedField(number, label=_("Scoring job"), widget=forms.HiddenInput)

    def checks(self, request: HttpRequest | Request) -> DriftCheckQuerySet:
        """Select the checks that the request may see; raises Invalid with every parameter that cannot be read."""
        if not self.is_valid():
            raise Invalid.of_form(self)
        values = self.cleaned_data
        filters: Mapping[str, object] = {
            "channel": values["channel"],
            "version__version": values["model"],
            "created_at__gte": values["since"],
            "created_at__lt": values["until"],
            "drifted": values["drifted"],
            "method": values["method"],
            "scoring_job_id": values["scoring_job"],
        }
        chosen = DriftCheck.objects.visible_to(request).select_related("version")
        return chosen.filter(**{name: value for name, value in filters.items() if value is not None})


class WindowForm(forms.Form):
    """What a check compares: as it is, the champion's newest live predictions."""

    method = forms.ChoiceField(label=_("Method"), choices=Method.choices, required=False)
    channel = forms.ChoiceField(label=_("Channel"), choices=[("", _("all")), *Channel.live()], required=False)
    model_version = forms.IntegerField(
        label=_("Model"),
        min_value=1,
        max_value=MAX_NUMBER,
        required=False,
        widget=forms.NumberInput(attrs={"inputmode": "numeric", "placeholder": _("the champion")}),
    )
    since = MomentFormField(
        label=_("Since"), required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )
    until = MomentFormField(
        label=_("Until"), required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local"})
    )
