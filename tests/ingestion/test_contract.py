"""The contract: what it takes, what it refuses, and that one row and many are judged alike."""

import io
from typing import Any

import numpy as np
import polars as pl
import pytest
from django.db import models
from hypothesis import given
from hypothesis import strategies as st

from ingestion import contract, table_validation
from ingestion.passenger import RULES
from ingestion.schema import FIELD_NAMES, FIELDS, to_columns
from ingestion.spellings import Spellings
from ingestion.table import read
from tests.people import CAST, ELISABETH, JAMES, NOBODY, OWEN


def check(person: dict[str, Any], *, is_text: bool = False) -> tuple[dict[str, Any], list[str]]:
    values, violations = contract.check_row(FIELDS, person, rules=RULES, is_text=is_text)
    return values, [violation.field for violation in violations]


@pytest.mark.parametrize("person", CAST, ids=["Elisabeth", "Owen", "James", "nobody"])
def test_it_takes_the_cast(person: dict[str, Any]) -> None:
    values, refused = check(person)

    assert refused == []
    assert set(values) == set(FIELD_NAMES)


def test_blank_means_unknown() -> None:
    values, _ = check({**NOBODY, "age": "", "cabin": "  ", "embarked": "\t", "sibsp": ""})

    assert (values["age"], values["cabin"], values["embarked"], values["sibsp"]) == (None, None, None, 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pclass", None), ("pclass", 4), ("pclass", 1.5), ("pclass", "1"), ("pclass", True), ("pclass", [1]),
        ("sex", "7"), ("sex", 1), ("sex", ""), ("sex", "Male"), ("sex", {"a": 1}),
        ("age", -5), ("age", 200), ("age", "22"), ("age", float("nan")), ("age", float("inf")), ("age", False),
        ("age", 10**400), ("fare", -0.01), ("fare", 1e308), ("sibsp", 21), ("sibsp", -1), ("parch", 10**22),
        ("embarked", "X"), ("embarked", 0), ("title", 42), ("title", "Duke"), ("cabin", True),
        ("cabin", float("nan")), ("cabin", 10**60), ("cabin", "x" * 61),
        ("name", "x" * 201), ("name", "a\0b"), ("name", "\ud800"), ("ticket", ["24160"]), ("home.dest", "Montreal"),
    ],
)  # fmt: skip
def test_it_refuses_and_names_the_field(field: str, value: object) -> None:
    assert check({**NOBODY, field: value})[1] == [field]


@pytest.mark.parametrize("text", ["1_0", "nan", "inf", "0x10", "1e999", "\uff11\uff12", "--1", "1,5", "9" * 65])
def test_old_t24_text_that_python_would_take_for_a_number_is_refused(text: str) -> None:
    assert check({"pclass": "2", "sex": "female", "age": text}, is_text=True)[1] == ["age"]


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"sex": "male", "title": "Mrs", "name": None}, ["sex", "title"]),
        ({"sex": "female"}, ["sex", "name"]),
        ({"title": "Master"}, ["title", "name"]),
    ],
)
def test_sex_title_and_name_that_contradict_each_other_are_refused(change: dict[str, Any], fields: list[str]) -> None:
    assert check({**OWEN, **change})[1] == fields


def test_a_message_says_what_to_do() -> None:
    _, violations = contract.check_row(FIELDS, {**NOBODY, "age": 200}, rules=RULES)

    assert violations[0].message % violations[0].params == "Must be from 0 to 120."


def test_old_t19_an_empty_cabin_is_no_cabin() -> None:
    values, _ = check(JAMES)

    assert values["cabin"] is None


def test_a_column_that_is_all_unknown_has_the_same_type_through_every_channel() -> None:
    unknown = {**NOBODY, "age": None}

    alone, among = to_columns([check(unknown)[0]]), to_columns([check(unknown)[0], check(ELISABETH)[0]])

    assert {name: column.dtype for name, column in alone.items()} == {n: c.dtype for n, c in among.items()}


cells = st.one_of(
    st.sampled_from(["", " ", "1", "3", "-0", "22", "0.5", "male", "female", "S", "Mrs", "Mr", "nan", "1e999", "4"]),
    st.text(max_size=8),
)


@given(rows=st.lists(st.fixed_dictionaries(dict.fromkeys(FIELD_NAMES, cells)), max_size=6))
def test_one_row_and_many_are_judged_alike(rows: list[dict[str, str]]) -> None:
    cells = pl.DataFrame(rows, schema=dict.fromkeys(FIELD_NAMES, pl.String))

    checked = table_validation.check_columns(FIELDS, cells, rules=RULES)

    spelt = [Spellings().spell_row(FIELDS, row) for row in rows]
    alone = [contract.check_row(FIELDS, row, rules=RULES, is_text=True) for row in spelt]
    assert checked.rows.tolist() == [place for place, (_, violations) in enumerate(alone) if not violations]
    errors = [(problem.row, problem.violation) for problem in checked.errors]
    assert errors == [(place, violation) for place, (_, violations) in enumerate(alone) for violation in violations]
    expected = to_columns([values for values, violations in alone if not violations])
    for name, column in checked.columns.items():
        assert column.dtype == expected[name].dtype
        np.testing.assert_array_equal(column, expected[name])


def test_every_real_passenger_passes(sample: str) -> None:
    (chunk,) = read(io.BytesIO(sample.encode()), fields=FIELDS, required=[])

    checked = table_validation.check_columns(FIELDS, chunk.cells, rules=RULES)

    assert (len(checked.rows), checked.problems) == (1309, [])


@pytest.mark.parametrize(
    "column",
    [
        models.BooleanField(), models.DateField(), models.DecimalField(max_digits=5, decimal_places=2),
        models.TextField(), models.BooleanField(choices=[(True, "yes")]), models.FloatField(choices=[(0.5, "half")]),
    ],
    ids=lambda column: type(column).__name__,
)  # fmt: skip
def test_a_field_that_the_contract_does_not_support_is_rejected_at_start(column: "models.Field[Any, Any]") -> None:
    declaration = type("Declared", (models.Model,), {
        "height": column, "__module__": "ingestion.passenger", "Meta": type("Meta", (), {"abstract": True}),
    })  # fmt: skip

    with pytest.raises(TypeError, match=r"The field 'height' of Declared is a \w+Field.*supported are .*FloatField\."):
        contract.fields_of(declaration)
