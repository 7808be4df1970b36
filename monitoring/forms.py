"""The forms of alerts and their rules."""

from django import forms
from django.db import transaction
from django.http import QueryDict
from django.utils.translation import gettext_lazy

from core import audit
from core.models import Action
from core.moments import MomentFormField
from monitoring.alert_kinds import Kind, Severity
from monitoring.models import Alert, AlertQuerySet, AlertRule, AlertState

_ALL = [("", gettext_lazy("all"))]


class AlertFilter(forms.Form):
    """Which alerts to list."""

    state = forms.ChoiceField(label=gettext_lazy("State"), required=False, choices=[*_ALL, *AlertState.choices])
    kind = forms.ChoiceField(label=gettext_lazy("Kind"), required=False, choices=[*_ALL, *Kind.choices])
    severity = forms.ChoiceField(label=gettext_lazy("Severity"), required=False, choices=[*_ALL, *Severity.choices])

    def alerts(self) -> AlertQuerySet:
        """Select the alerts; none where a field cannot be read."""
        if not self.is_valid():
            return Alert.objects.none()
        chosen = {name: value for name, value in self.cleaned_data.items() if value}
        state = chosen.pop("state", None)
        alerts = Alert.objects.filter(**chosen)
        return alerts.in_state(state) if state else alerts


class NoteForm(forms.Form):
    """What a person says of an alert."""

    note = forms.CharField(label=gettext_lazy("Note"), required=False, max_length=500)


class AlertRuleForm(forms.ModelForm):  # type: ignore[type-arg]
    """A rule as an operator edits it."""

    silenced_until = MomentFormField(
        label=gettext_lazy("Silenced until"),
        required=False,
        help_text=AlertRule._meta.get_field("silenced_until").help_text,
    )

    class Meta:
        model = AlertRule
        fields = (
            "is_enabled", "severity", "threshold", "delay_seconds", "cooldown_minutes", "silenced_until",
            "retrains", "retrain_pause_hours", "most_retrainings",
        )  # fmt: skip

    def __init__(self, data: QueryDict | None, *, rule: AlertRule) -> None:
        super().__init__(data, instance=rule)
        if rule.threshold_label:
            self.fields["threshold"].label, self.fields["threshold"].required = rule.threshold_label, True
        else:
            del self.fields["threshold"]
        if not rule.may_retrain:
            del self.fields["retrains"], self.fields["retrain_pause_hours"], self.fields["most_retrainings"]

    def save_audited(self) -> None:
        """Save the rule, and record what was changed."""
        names = self.changed_data
        with transaction.atomic():
            self.save()
            before, after = ({name: values.get(name) for name in names} for values in (self.initial, self.cleaned_data))
            audit.record(Action.CHANGED, self.instance, before=before, after=after)
