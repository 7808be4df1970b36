"""What the compiled reader takes is exactly what the contract gives."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion import contract
from ingestion.passenger import RULES
from ingestion.schema import FIELD_NAMES, FIELDS, READER
from tests.people import CAST, ELISABETH, JAMES, OWEN

_TEXTS = st.text(max_size=8) | st.sampled_from(
    ["", " ", "a\tb", "é", "x\u00a0", "\x00", "Allen, Miss. E", "Mr", "male", "S", "A" * 70, "\ud800", "“”", "a\r\n"]
)
_NUMBERS = st.sampled_from([0, -0.0, 0.0, 1, 2.0, 3, 20, 21, -1, 120, 120.5, 100_000, 100_001, 2**53 + 1, 10**30]) | (
    st.floats(allow_nan=True, allow_infinity=True)
)
_ANYTHING = st.none() | st.booleans() | _TEXTS | _NUMBERS | st.just([]) | st.just({})


def _exact(values: Any) -> list[tuple[str, str]]:
    return [(type(value).__name__, repr(value)) for value in values]


_PASSENGERS = st.lists(st.sampled_from(CAST).flatmap(
    lambda person: st.dictionaries(st.sampled_from([*FIELD_NAMES, "x"]), _ANYTHING, max_size=3).map(
        lambda changes: {**person, **changes}
    )
), min_size=1, max_size=3)  # fmt: skip


@given(_PASSENGERS)
def test_what_is_taken_is_what_the_contract_gives(raws: list[dict[str, Any]]) -> None:
    rows = READER.read(raws)

    if rows is not None:
        for raw, row in zip(raws, rows, strict=True):
            values, violations = contract.check_row(FIELDS, raw, rules=RULES)
            assert violations == []
            assert _exact(row) == _exact(values[name] for name in FIELD_NAMES)


def test_ordinary_passengers_are_taken() -> None:
    assert READER.read(CAST) is not None
    assert READER.read([{**JAMES, "fare": 0}, {**OWEN, "age": None, "cabin": "  "}]) is not None


def test_a_number_is_text_as_in_a_table() -> None:
    values, violations = contract.check_row(FIELDS, {**OWEN, "ticket": 113781, "cabin": -0.5}, rules=RULES)

    assert (values["ticket"], values["cabin"], violations) == ("113781", "-0.5", [])


@pytest.mark.parametrize(
    "change", [{"sex": "male"}, {"title": "Mr"}, {"age": "29"}, {"age": True}, {"x": 1}, {"pclass": 4},
               {"name": "a\x00b"}, {"name": True}, {"name": 2**53 + 1},
               {"ticket": "x" * 41}, {"fare": -1}, {"sibsp": 1.5}],
)  # fmt: skip
def test_what_the_contract_refuses_is_left_to_it(change: dict[str, Any]) -> None:
    changed = {**ELISABETH, **change}

    assert contract.check_row(FIELDS, changed, rules=RULES)[1]
    assert READER.read([OWEN, changed]) is None
