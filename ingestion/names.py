"""What a name in the passenger list's manner says: honorific, title group, sex."""

import re

_MALE = frozenset({"Mr", "Master", "Rev", "Don", "Sir", "Jonkheer", "Capt", "Col", "Major"})
_FEMALE = frozenset({"Miss", "Mrs", "Mlle", "Mme", "Ms", "Lady", "Dona", "Countess", "the Countess"})
_GROUPS = {
    "Mr": "Mr", "Miss": "Miss", "Ms": "Miss", "Mlle": "Miss",
    "Mrs": "Mrs", "Mme": "Mrs", "Master": "Master",
}  # fmt: skip
# The ages at which the passenger list changes its mind.
_MARRIED_FROM = 30
_GROWN_FROM = 13
#: The part of a name that everything here is read from.
HONORIFIC = r",\s*([^.,]+?)\s*\."
_HONORIFIC = re.compile(HONORIFIC)


def honorific(name: str | None) -> str | None:
    """The honorific of a name, or None where the name has none.

    >>> honorific("Allen, Miss. Elisabeth Walton")
    'Miss'
    >>> honorific("Elisabeth Walton Allen") is None
    True
    """
    found = _HONORIFIC.search(name) if name else None
    return found[1] if found else None


def title_of(name: str | None) -> str | None:
    """The title group of a name's honorific; an honorific that is not common is Rare.

    >>> title_of("Sagesser, Mlle. Emma"), title_of("Byles, Rev. Thomas"), title_of("Nobody")
    ('Miss', 'Rare', None)
    """
    word = honorific(name)
    return None if word is None else _GROUPS.get(word, "Rare")


def likely_title(sex: str, age: float | None) -> str:
    """The title to assume of somebody without name and title: what most people of that sex and age are called.

    >>> likely_title("female", 40.0), likely_title("male", float("nan")), likely_title("male", 4.0)
    ('Mrs', 'Mr', 'Master')
    """
    # Written so that an unknown age (NaN or None) counts as neither.
    known = age if age is not None else float("nan")
    if sex == "female":
        return "Mrs" if known >= _MARRIED_FROM else "Miss"
    return "Master" if known < _GROWN_FROM else "Mr"


def sex_of(word: str | None) -> str | None:
    """The sex an honorific is said of, or None where it is said of both or of neither.

    >>> sex_of("Mme"), sex_of("Rev"), sex_of("Dr")
    ('female', 'male', None)
    """
    if word in _MALE:
        return "male"
    return "female" if word in _FEMALE else None
