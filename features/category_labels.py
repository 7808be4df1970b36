"""Features in words: what each is called, how it is derived, and its values without codes."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from features.definition import CODES, DESCRIPTIONS, FLAGS
from ingestion.schema import CHOICES, VERBOSE_NAMES

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


def label(feature: str) -> "StrOrPromise":
    """Return what a feature is called: by its description, or as the field that it is."""
    if feature in DESCRIPTIONS:
        return _(DESCRIPTIONS[feature][0])
    return VERBOSE_NAMES.get(feature, VERBOSE_NAMES.get(feature.lower(), feature))


def labels(features: Iterable[str]) -> str:
    """List what features are called."""
    return ", ".join(str(label(name)) for name in features)


def formula(feature: str) -> str:
    """Return how a feature is derived; nothing for one that is a field."""
    return _(DESCRIPTIONS[feature][1]) if feature in DESCRIPTIONS else ""


def in_words(feature: str, value: float | None) -> object:
    """Return a feature's value: the word for a code, a boolean for yes or no, else the number; None for unknown."""
    if value is None:
        return None
    if feature in FLAGS:
        return bool(value)
    choices = CHOICES.get(feature.lower(), {})
    for word, code in CODES.get(feature, {}).items():
        if code == value:
            return choices.get(word, word)
    return choices.get(value, value)


def value_in_words(feature: str, value: object) -> object:
    """Return the word for a value of a profile, which has categories by their names and other values as numbers."""
    if isinstance(value, (int, float)):
        return in_words(feature, value)
    return CHOICES.get(feature.lower(), {}).get(value, value)
