"""Training's forms: what to train, and a moment of the past."""

from django import forms
from django.utils.translation import gettext_lazy

from core.moments import MomentFormField
from training.models import TrainingRun


class TrainingForm(forms.ModelForm):  # type: ignore[type-arg]
    """What to train, with which seed and how long a search."""

    class Meta:
        model = TrainingRun
        fields = ("algorithm", "seed", "candidates")


class MomentForm(forms.Form):
    """A moment of the past, in UTC."""

    at = MomentFormField(
        label=gettext_lazy("Champion at (UTC)"),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
