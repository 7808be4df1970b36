"""A row's features as people read them, with what the model has seen and what has drifted."""

from typing import TYPE_CHECKING, NamedTuple

from features import category_labels
from predictions.drift_state import DriftNote
from predictions.scorer import FeatureValues

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


class ShownFeature(NamedTuple):
    """One feature: its name for people, its value in words, how it is derived, and what there is to note."""

    name: str
    label: "StrOrPromise"
    value: object
    formula: str
    has_drifted: bool = False
    #: None where it is not known what the model has seen.
    is_seen: bool | None = None


def of(values: FeatureValues, note: DriftNote | None = None) -> list[ShownFeature]:
    """List a row's features in their order."""
    notes = {feature.name: feature for feature in note.features} if note else {}
    return [
        ShownFeature(
            name,
            category_labels.label(name),
            category_labels.in_words(name, value),
            category_labels.formula(name),
            has_drifted=name in notes and notes[name].drifted,
            is_seen=notes[name].seen if name in notes else None,
        )
        for name, value in values.items()
    ]
