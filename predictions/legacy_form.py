"""Translate the old system's form: its eleven field names and codes. Another table deletes this file."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from features.definition import CODES, FEATURES, derive
from ingestion.contract import Contract, Field, Value, Violation, gettext_noop

#: Old name -> new name of the fields that both forms have.
_NEW_NAMES = {"Age": "age", "Fare": "fare", "Pclass": "pclass", "Sex": "sex", "Embarked": "embarked", "Title": "title"}
#: New name -> old name; `sibsp` and `cabin` are read from Familysize and HasCabin.
_OLD_NAMES = {new: old for old, new in _NEW_NAMES.items()} | {"sibsp": "Familysize", "cabin": "HasCabin"}
#: The contract's maximum of `sibsp`, and of `parch`.
_MAX_SIBLINGS = 20
#: How far Pclass_Fare and Age_Fare may be from the products of their factors: the client may have rounded.
_TOLERANCE = 0.02

_FIELDS = (
    *(Field(name, "number", is_required=False) for name in ("Age", "Fare", "Pclass_Fare", "Age_Fare")),
    *(Field(name, "integer", is_required=False) for name in ("Pclass", *CODES)),
    *(Field(name, "choice", is_required=False, choices=(0, 1)) for name in ("Isalone", "HasCabin")),
    Field("Familysize", "integer", is_required=False, minimum=1, maximum=2 * _MAX_SIBLINGS + 1),
)
_CONTRACT = Contract(_FIELDS)


def translate(form: Mapping[str, str]) -> tuple[dict[str, Value], list[Violation]]:
    """Translate a posted form into a passenger's fields; a derived value that contradicts the others is a violation.

    >>> row, violations = translate({"Pclass": "1", "Sex": "1", "Familysize": "2", "Isalone": "1"})
    >>> [violation.field for violation in violations]
    ['Isalone']
    """
    values, violations = _CONTRACT.check(form, is_text=True)
    if violations:
        return {}, violations
    posted: dict[str, Any] = {**values}
    row: dict[str, Any] = {new: posted[old] for old, new in _NEW_NAMES.items()}
    for old, codes in CODES.items():
        words = {code: word for word, code in codes.items()}
        row[_NEW_NAMES[old]] = words.get(posted[old])
        if posted[old] is not None and posted[old] not in words:
            options = ", ".join(f"{code:.0f} ({word})" for code, word in words.items())
            violations.append(
                Violation(old, "not_a_choice", gettext_noop("Must be one of %(options)s."), {"options": options})
            )
    relatives = (posted["Familysize"] or 1) - 1
    # The old form does not tell siblings from children, and no feature does either.
    row["sibsp"], row["parch"] = min(relatives, _MAX_SIBLINGS), max(relatives - _MAX_SIBLINGS, 0)
    # The old form says whether the cabin is known, not which it is.
    row["cabin"] = "known" if posted["HasCabin"] else None
    return row, violations or _contradictions(posted, row)


def use_old_names(violations: Iterable[Violation]) -> list[Violation]:
    """Replace the fields' names in violations by those of the old form."""
    return [replace(violation, field=_OLD_NAMES.get(violation.field, violation.field)) for violation in violations]


def _contradictions(posted: Mapping[str, Any], row: Mapping[str, Any]) -> list[Violation]:
    """Compare the posted values of derived features with those derived from the other fields."""
    columns = {
        **{name: np.array([row[name]], dtype=np.float64) for name in ("age", "fare", "pclass", "sibsp", "parch")},
        **{name: np.array([row.get(name)], dtype=object) for name in ("sex", "embarked", "cabin", "title", "name")},
    }
    derived = dict(zip(FEATURES, derive(columns)[0].tolist(), strict=True))
    message = gettext_noop("The other fields give %(expected)s. Leave it empty or correct it.")
    return [
        Violation(name, "contradiction", message, {"expected": f"{derived[name]:g}"})
        for name in ("Isalone", "Pclass_Fare", "Age_Fare")
        # `not <=` instead of `>`: with an unknown factor the product is NaN, and any posted value contradicts it.
        if posted[name] is not None
        and not abs(posted[name] - derived[name]) <= max(_TOLERANCE, abs(derived[name]) * 1e-3)
    ]
