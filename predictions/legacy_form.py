"""The old system's form: eleven codes as field names, believed by nobody here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from features.definition import CODES, FEATURES, derive
from ingestion.contract import ContractViolation, Field, Violation, gettext_noop, parse

#: Old field -> our field.
_DIRECT = {"Age": "age", "Fare": "fare", "Pclass": "pclass", "Sex": "sex", "Embarked": "embarked", "Title": "title"}
_MOST_SIBLINGS = 20
_LARGEST_FAMILY = 2 * _MOST_SIBLINGS + 1
#: A posted product may have been rounded to two digits on its way.
_TOLERANCE = 0.02


def is_legacy(names: Iterable[str]) -> bool:
    """Whether a form, or whatever names what it says, speaks the old system's field names."""
    return not set(FEATURES).isdisjoint(names)


def translate(form: Mapping[str, str]) -> tuple[dict[str, Any], list[Violation]]:
    """The passenger that the old codes describe; what can be derived is recomputed, and refused where it contradicts.

    >>> translate({"Pclass": "1", "Sex": "1", "Familysize": "2", "Isalone": "1"})[1][0].field
    'Isalone'
    """
    posted, violations = _numbers(form)
    if violations:
        return {}, violations
    row: dict[str, Any] = {ours: posted[old] for old, ours in _DIRECT.items()}
    for old, codes in CODES.items():
        row[_DIRECT[old]], refused = _decode(old, posted[old], codes)
        violations += refused
    relatives = (posted["Familysize"] or 1) - 1
    # The old form does not tell siblings from children, and no feature does either.
    row["sibsp"], row["parch"] = min(relatives, _MOST_SIBLINGS), max(relatives - _MOST_SIBLINGS, 0)
    # The old codes say that a cabin was known, not which.
    row["cabin"] = "unknown" if posted["HasCabin"] else None
    return row, violations or _contradictions(posted, row)


def rename(violations: Iterable[Violation]) -> list[Violation]:
    """Refusals under the names that the old form's sender knows."""
    names = {ours: old for old, ours in _DIRECT.items()} | {"sibsp": "Familysize", "cabin": "HasCabin"}
    return [replace(violation, field=names.get(violation.field, violation.field)) for violation in violations]


def _rule(name: str) -> Field:
    if name in ("Isalone", "HasCabin"):
        return Field(name, "choice", is_required=False, is_nullable=True, choices=(0, 1))
    if name in CODES or name == "Pclass":
        return Field(name, "integer", is_required=False, is_nullable=True)
    if name == "Familysize":
        return Field(name, "integer", is_required=False, is_nullable=True, minimum=1, maximum=_LARGEST_FAMILY)
    return Field(name, "number", is_required=False, is_nullable=True)


def _numbers(form: Mapping[str, str]) -> tuple[dict[str, Any], list[Violation]]:
    posted: dict[str, Any] = {}
    violations: list[Violation] = []
    for name in FEATURES:
        try:
            posted[name] = parse(_rule(name), form.get(name), is_text=True)
        except ContractViolation as refused:
            violations.append(refused.violation)
    return posted, violations


def _decode(name: str, code: int | None, codes: Mapping[str, float]) -> tuple[str | None, list[Violation]]:
    if code is None:
        return None, []
    for word, number in codes.items():
        if number == code:
            return word, []
    options = ", ".join(f"{number:.0f} ({word})" for word, number in codes.items())
    message = gettext_noop("Must be one of %(options)s.")
    return None, [Violation(name, "not_a_choice", message, {"options": options})]


def _contradictions(posted: Mapping[str, Any], row: Mapping[str, Any]) -> list[Violation]:
    """Posted values of derived features that are not what the others give."""
    columns = {name: np.array([value if value is not None else np.nan]) for name, value in _numeric(row).items()}
    texts = {name: np.array([row.get(name)], dtype=object) for name in ("sex", "embarked", "cabin", "title", "name")}
    derived = dict(zip(FEATURES, derive({**columns, **texts})[0].tolist(), strict=True))
    wrong: Sequence[str] = [
        name
        for name in ("Isalone", "Pclass_Fare", "Age_Fare")
        # Nothing follows from an unknown age or fare: a product posted without them is refused too.
        if posted[name] is not None and not abs(posted[name] - derived[name]) <= _allowed(derived[name])
    ]
    message = gettext_noop("The other fields give %(expected)s. Leave it empty or correct it.")
    return [Violation(name, "contradiction", message, {"expected": f"{derived[name]:g}"}) for name in wrong]


def _numeric(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("age", "fare", "pclass", "sibsp", "parch")}


def _allowed(value: float) -> float:
    return max(_TOLERANCE, abs(value) * 1e-3)
