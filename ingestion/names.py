"""What a name in the passenger list's manner says: honorific, title group, sex."""

import re

_MALE = frozenset({"Mr", "Master", "Rev", "Don", "Sir", "Jonkheer", "Capt", "Col", "Major"})
_FEMALE = frozenset({"Miss", "Mrs", "Mlle", "Mme", "Ms", "Lady", "Dona", "Countess", "the Countess"})
_GROUPS = {
    "Mr": "Mr", "Miss": "Miss", "Ms": "Miss", "Mlle": "Miss",
    "Mrs": "Mrs", "Mme": "Mrs", "Master": "Master",
}  # fmt: skip
_HONORIFIC = re.compile(r",\s*([^.,]+?)\s*\.")


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


def sex_of(word: str | None) -> str | None:
    """The sex an honorific is said of, or None where it is said of both or of neither.

    >>> sex_of("Mme"), sex_of("Rev"), sex_of("Dr")
    ('female', 'male', None)
    """
    if word in _MALE:
        return "male"
    return "female" if word in _FEMALE else None
