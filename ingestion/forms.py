"""The page's forms for new datasets."""

from django import forms
from django.utils.translation import gettext_lazy as _


class AddressForm(forms.Form):
    """A file in the inbox."""

    uri = forms.CharField(label=_("File in the inbox"), max_length=500)


class UploadForm(forms.Form):
    """A file from the person's computer."""

    file = forms.FileField(
        label=_("CSV file"),
        help_text=_("UTF-8, headings in the first line."),
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}),
    )
