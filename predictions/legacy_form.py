"""The old system's form: its eleven field names and codes. Another table deletes this file."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from features.definition import CODES, FEATURES, derive
from ingestion.contract import ContractViolation, Field, Value, Violation, gettext_noop, parse

#: Old field -> our field.
_DIRECT = {"Age": "age", "Fare": "fare", "Pclass": "pclass", "Sex": "sex", "Embarked": "embarked", "Title": "title"}
_MAX_SIBLINGS = 20
#: Violations of fields that the old form does not have are named after the field they were read from.
_OLD_NAMES = {ours: old for old, ours in _DIRECT.items()} | {"sibsp": "Familysize", "cabin": "HasCabin"}
#: A posted product may have been rounded to two digits on its way.
_TOLERANCE = 0.02

_NUMBERS, _CODES, _FLAGS = ("Age", "Fare", "Pclass_Fare", "Age_Fare"), ("Pclass", *CODES), ("Isalone", "HasCabin")
_FIELDS = (
    *(Field(name, "number", is_required=False) for name in _NUMBERS),
    *(Field(name, "integer", is_required=False) for name in _CODES),
    *(Field(name, "choice", is_required=False, choices=(0, 1)) for name in _FLAGS),
    Field("Familysize", "integer", is_required=False, minimum=1, maximum=2 * _MAX_SIBLINGS + 1),
)


def translate(form: Mapping[str, str]) -> tuple[dict[str, Value], list[Violation]]:
    """Translate a posted form into a passenger's fields; derived values that contradict the others are violations.

    >>> translate({"Pclass": "1", "Sex": "1", "Familysize": "2", "Isalone": "1"})[1][0].field
    'Isalone'
    """
    posted: dict[str, Any] = {}
    violations: list[Violation] = []
    for field in _FIELDS:
        try:
            posted[field.name] = parse(field, form.get(field.name), is_text=True)
        except ContractViolation as error:
            violations.append(error.violation)
    if violations:
        return {}, violations
    row: dict[str, Any] = {ours: posted[old] for old, ours in _DIRECT.items()}
    for old, codes in CODES.items():
        words = {code: word for word, code in codes.items()}
        row[_DIRECT[old]] = words.get(posted[old])
        if posted[old] is not None and posted[old] not in words:
            options = ", ".join(f"{code:.0f} ({word})" for code, word in words.items())
            violations.append(
                Violation(old, "not_a_choice", gettext_noop("Must be one of %(options)s."), {"options": options})
            )
    relatives = (posted["Familysize"] or 1) - 1
    # The old form does not tell siblings from children, and no feature does either.
    row["sibsp"], row["parch"] = min(relatives, _MAX_SIBLINGS), max(relatives - _MAX_SIBLINGS, 0)
    # The old codes say that a cabin was known, not which.
    row["cabin"] = "unknown" if posted["HasCabin"] else None
    return row, violations or _contradictions(posted, row)


def rename(violations: Iterable[Violation]) -> list[Violation]:
    """Name the old form's fields in violations of ours."""
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
        # Nothing follows from an unknown age or fare, which is NaN here: a product posted without them contradicts too.
        if posted[name] is not None
        and not abs(posted[name] - derived[name]) <= max(_TOLERANCE, abs(derived[name]) * 1e-3)
    ]
