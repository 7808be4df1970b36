"""The forms of the pages that span the apps."""

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy

from core.models import Action, AuditEntry
from core.moments import MomentFormField


class AuditFilter(forms.Form):
    """Which audit entries to list."""

    action = forms.ChoiceField(
        label=gettext_lazy("Action"), required=False, choices=[("", gettext_lazy("all")), *Action.choices]
    )
    actor = forms.CharField(label=gettext_lazy("Actor"), required=False, max_length=150)
    object_name = forms.CharField(label=gettext_lazy("Object"), required=False, max_length=200)
    request_id = forms.CharField(label=gettext_lazy("Request id"), required=False, max_length=36)
    since = MomentFormField(label=gettext_lazy("Since"), required=False)
    until = MomentFormField(label=gettext_lazy("Until"), required=False)

    def entries(self) -> QuerySet[AuditEntry]:
        """Select the entries, newest first; none where a field cannot be read."""
        if not self.is_valid():
            return AuditEntry.objects.none()
        lookups = {"since": "at__gte", "until": "at__lt", "object_name": "object_name__icontains"}
        chosen = {lookups.get(name, name): value for name, value in self.cleaned_data.items() if value}
        return AuditEntry.objects.filter(**chosen)
