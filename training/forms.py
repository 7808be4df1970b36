"""Training's forms: what to train, a moment of the past, tags and notes, the reason for a change of stage."""

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.moments import MomentFormField
from training.models import LONGEST_TAG, MOST_TAGS, ModelVersion, TrainingRun
from training.registry import LONGEST_REASON


class TrainingForm(forms.ModelForm):  # type: ignore[type-arg]
    """What to train, with which seed and how long a search."""

    class Meta:
        model = TrainingRun
        fields = ("algorithm", "seed", "candidates")


class MomentForm(forms.Form):
    """A moment of the past."""

    at = MomentFormField(
        label=gettext_lazy("Champion at"),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )


class TagsField(forms.CharField):
    """Tags as one text, with commas between them."""

    def prepare_value(self, value: object) -> object:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def has_changed(self, initial: object, data: object) -> bool:
        return self.prepare_value(initial) != data

    def clean(self, value: object) -> list[str]:
        """Split the text; raises ValidationError for too many tags or too long a one."""
        tags = list(dict.fromkeys(tag.strip() for tag in super().clean(value).split(",") if tag.strip()))
        if len(tags) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in tags):
            params = {"most": MOST_TAGS, "longest": LONGEST_TAG}
            raise ValidationError(_("At most %(most)s tags of at most %(longest)s characters each."), params=params)
        return tags


#: The fields that people may change.
ANNOTATIONS = ("tags", "notes")


class AnnotationForm(forms.ModelForm):  # type: ignore[type-arg]
    """What people note of a version."""

    tags = TagsField(
        label=gettext_lazy("Tags"), required=False, max_length=500, help_text=gettext_lazy("With commas between them.")
    )

    class Meta:
        model = ModelVersion
        fields = ANNOTATIONS
        widgets = {"notes": forms.Textarea(attrs={"rows": 3})}


class ReasonForm(forms.Form):
    """Why a version's stage is changed."""

    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=LONGEST_REASON, required=False)

    def __init__(self, data: object = None, *, is_required: bool = False) -> None:
        super().__init__(data)  # type: ignore[arg-type]  # a request's POST, or None
        self.fields["reason"].required = is_required
        if not is_required:
            self.fields["reason"].help_text = _("Optional; it is kept in the history.")
