"""The filters of the prediction log, the same on its page and in the API."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from django import forms
from django.db.models import Exists, OuterRef, Q, Sum, TextChoices
from django.forms.boundfield import BoundField
from django.utils.translation import gettext_lazy as _

from core import moments
from core.errors import Invalid
from ingestion import contract
from ingestion.passenger import LABEL, LABEL_WORDS
from predictions.models import REFERENCE, Channel, Outcome, Prediction, PredictionCount, PredictionQuerySet

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

#: Versions and jobs are numbered below this.
MAX_NUMBER = 10**9 - 1
FLAGS = {"true": True, "1": True, "false": False, "0": False}


class ParsedField(forms.Field):
    """A value that `parse` reads from text, or rejects by None; a blank text is rejected, no text is no filter."""

    def __init__(
        self,
        parse: Callable[[str], object],
        *,
        label: "StrOrPromise",
        widget: forms.Widget | type[forms.Widget] = forms.TextInput,
    ) -> None:
        super().__init__(required=False, label=label, widget=widget)
        self.parse = parse

    def to_python(self, value: str | None) -> object:
        """Return the parsed value; raises ValidationError."""
        if value is None:
            return None
        parsed = self.parse(value)
        if parsed is None:
            message = _("“%(value)s” cannot be read.")
            raise forms.ValidationError(message, code="invalid", params={"value": value})
        return parsed


def number(text: str) -> int | None:
    """Read a number of a version or a job; None where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_NUMBER)) else None


def _parser(field: contract.Field) -> Callable[[str], contract.Value]:
    """Read a text by the contract of a field; None where it breaks it."""

    as_sent = contract.Contract([field], markers=frozenset())
    return lambda text: as_sent.check({field.name: text}, is_text=True)[0].get(field.name)


class Known(TextChoices):
    """What is known of what really happened, beside what was predicted."""

    KNOWN = "known", _("known")
    UNKNOWN = "unknown", _("unknown")
    RIGHT = "right", _("as predicted")
    WRONG = "wrong", _("otherwise than predicted")


#: What the fields have in common that ask for a probability.
_probability = _parser(contract.Field("probability", "number", is_required=False, minimum=0, maximum=1))
_SHARE = {"min": 0, "max": 1, "step": "any", "inputmode": "decimal"}


class PredictionFilter(forms.Form):
    """Which predictions to list."""

    # The parameter has the label's name.
    vars()[LABEL] = ParsedField(
        lambda text: FLAGS.get(text.lower()),
        label=_("Result"),
        widget=forms.Select(choices=[("", _("all")), ("1", LABEL_WORDS[True]), ("0", LABEL_WORDS[False])]),
    )
    source = ParsedField(
        lambda text: text if text in Channel.values else None,
        label=_("Channel"),
        widget=forms.Select(choices=[("", _("all")), *Channel.choices]),
    )
    model = ParsedField(
        number,
        label=_("Model"),
        widget=forms.NumberInput(attrs={"min": 1, "inputmode": "numeric", "placeholder": _("all")}),
    )
    find = ParsedField(_parser(REFERENCE), label=_("Id or reference"), widget=forms.TextInput(attrs={"type": "search"}))
    reference = ParsedField(_parser(REFERENCE), label=_("Reference"))
    outcome = ParsedField(
        lambda text: text if text in Known.values else None,
        label=_("What really happened"),
        widget=forms.Select(choices=[("", _("all")), *Known.choices]),
    )
    probability_from = ParsedField(_probability, label=_("Probability from"), widget=forms.NumberInput(attrs=_SHARE))
    probability_to = ParsedField(_probability, label=_("Probability to"), widget=forms.NumberInput(attrs=_SHARE))
    anonymous = ParsedField(
        lambda text: FLAGS.get(text.lower()),
        label=_("Anonymous"),
        widget=forms.Select(choices=[("", _("all")), ("1", _("yes")), ("0", _("no"))]),
    )
    scoring_job = ParsedField(
        number, label=_("Scoring job"), widget=forms.NumberInput(attrs={"min": 1, "inputmode": "numeric"})
    )
    since = ParsedField(moments.parse, label=_("Since"), widget=moments.MomentInput(attrs={"step": "any"}))
    until = ParsedField(moments.parse, label=_("Until"), widget=moments.MomentInput(attrs={"step": "any"}))

    def predictions(self) -> PredictionQuerySet:
        """Select the predictions; raises Invalid with every parameter that cannot be read."""
        if not self.is_valid():
            raise Invalid.of_form(self)
        filters: Mapping[str, object] = {
            "predicted": self.cleaned_data[LABEL],
            "source": self.cleaned_data["source"],
            "model_version": self.cleaned_data["model"],
            "scoring_job_id": self.cleaned_data["scoring_job"],
            "reference": self.cleaned_data["reference"],
            "anonymous": self.cleaned_data["anonymous"],
            "probability__gte": self.cleaned_data["probability_from"],
            "probability__lte": self.cleaned_data["probability_to"],
        }
        chosen = Prediction.objects.filter(**{name: value for name, value in filters.items() if value is not None})
        if self.cleaned_data["find"] is not None:
            chosen = chosen.named(self.cleaned_data["find"])
        if self.cleaned_data["outcome"] is not None:
            chosen = chosen.filter(_outcome(self.cleaned_data["outcome"]))
        since, until = self.cleaned_data["since"], self.cleaned_data["until"]
        chosen = chosen if since is None else chosen.since(since)
        return chosen if until is None else chosen.until(until)

    def shown_fields(self) -> list[BoundField]:
        """Choose the fields that the page shows: the usual ones, and every other one that is in use."""
        unusual = ("reference", "scoring_job")
        return [self[name] for name in self.fields if name not in unusual or name in self.data]

    def stored_count(self) -> int | None:
        """Return how many such predictions were ever stored; None where the filter is finer than what is counted."""
        counted = {LABEL: "predicted", "source": "source", "model": "model_version"}
        chosen = {name: value for name, value in self.cleaned_data.items() if value is not None}
        if not chosen.keys() <= counted.keys():
            return None
        counts = PredictionCount.objects.filter(**{counted[name]: value for name, value in chosen.items()})
        return counts.aggregate(all=Sum("count"))["all"] or 0


def _outcome(known: str) -> Q:
    """Select predictions by what is known of what really happened."""
    outcomes = Outcome.objects.filter(pk=OuterRef("pk"))
    if known == Known.UNKNOWN:
        return ~Q(Exists(outcomes))
    by_known = {Known.RIGHT: Q(actual=OuterRef("predicted")), Known.WRONG: ~Q(actual=OuterRef("predicted"))}
    return Q(Exists(outcomes.filter(by_known.get(Known(known), Q()))))
