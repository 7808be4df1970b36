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
from ingestion.schema import CONTRACT, FIELD_NAMES, FIELDS, to_columns
from ingestion.spellings import Spellings
from ingestion.table import read
from tests.people import CAST, ELISABETH, JAMES, NOBODY, OWEN


def check(person: dict[str, Any], *, is_text: bool = False) -> tuple[dict[str, Any], list[str]]:
    values, violations = CONTRACT.check(person, is_text=is_text)
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
        ("pclass", None), ("pclass", 4), ("pclass", 1.5), ("pclass", "4"), ("pclass", True), ("pclass", [1]),
        ("sex", "7"), ("sex", 1), ("sex", ""), ("sex", "NA"), ("sex", "Malle"), ("sex", {"a": 1}),
        ("age", -5), ("age", 200), ("age", "22"), ("age", float("nan")), ("age", float("inf")), ("age", False),
        ("age", 10**400), ("fare", -0.01), ("fare", 1e308), ("sibsp", 21), ("sibsp", -1), ("parch", 10**22),
        ("embarked", "X"), ("embarked", 0), ("title", 42), ("title", "Duke"), ("cabin", True),
        ("cabin", float("nan")), ("cabin", 10**60), ("cabin", "x" * 61),
        ("name", "x" * 201), ("name", "a\0b"), ("name", "\ud800"), ("ticket", ["24160"]), ("home.dest", "Montreal"),
        ("\ud800", 1),
    ],
)  # fmt: skip
def test_it_refuses_and_names_the_field(field: str, value: object) -> None:
    assert check({**NOBODY, field: value})[1] == [field]


@pytest.mark.parametrize("text", ["1_0", "inf", "0x10", "1e999", "\uff11\uff12", "--1", "1,5", "9" * 65])
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


def test_an_integer_that_not_every_reader_of_json_knows_is_refused() -> None:
    count = contract.Contract([contract.Field("count", "integer", is_required=True)])

    assert count.check({"count": 2**53 - 1}) == ({"count": 2**53 - 1}, [])
    assert [count.check({"count": number})[1][0].code for number in (2**53, 2**53 + 1, -(2**60), 1e300, 1.5)] == [
        "out_of_range", "out_of_range", "out_of_range", "out_of_range", "not_an_integer",
    ]  # fmt: skip


def test_a_message_says_what_to_do() -> None:
    _, violations = CONTRACT.check({**NOBODY, "age": 200})

    assert violations[0].message % violations[0].params == "Must be from 0 to 120."


@pytest.mark.parametrize("marker", ["NA", "nan", "NULL", " n/a ", "-", "?", "#N/A"])
def test_a_marker_means_unknown_in_every_field_that_may_be(marker: str) -> None:
    nullable = [name for name in FIELD_NAMES if name not in NOBODY]

    values, refused = check({**NOBODY, **dict.fromkeys(nullable, marker)})

    assert (values, refused) == (check(NOBODY)[0], [])


def test_a_choice_may_be_spelt_as_files_do() -> None:
    values, refused = check({"pclass": "1st", "sex": " F ", "embarked": "southampton", "title": "Mlle"})

    assert (values["pclass"], values["sex"], values["embarked"], values["title"]) == (1, "female", "S", "Miss")
    assert refused == []


def test_a_source_that_has_other_markers_has_only_those() -> None:
    cells = pl.DataFrame([{"pclass": "1", "sex": "male", "age": "keine", "cabin": "NA", "ticket": "+5"}])

    checked = table_validation.check_columns(FIELDS, cells, rules=RULES, spellings=Spellings(markers=["keine"]))

    assert checked.frame.select("age", "cabin").rows() == [(None, "NA")]


def test_a_number_is_text_as_in_a_table() -> None:
    values, refused = check({**OWEN, "ticket": 113781, "cabin": -0.5})

    assert (values["ticket"], values["cabin"], refused) == ("113781", "-0.5", [])


def test_old_t19_an_empty_cabin_is_no_cabin() -> None:
    values, _ = check(JAMES)

    assert values["cabin"] is None


def test_a_column_that_is_all_unknown_has_the_same_type_through_every_channel() -> None:
    unknown = {**NOBODY, "age": None}

    alone, among = to_columns([check(unknown)[0]]), to_columns([check(unknown)[0], check(ELISABETH)[0]])

    assert {name: column.dtype for name, column in alone.items()} == {n: c.dtype for n, c in among.items()}


_TEXTS = st.text(max_size=8) | st.sampled_from(
    [
        "",
        " ",
        "a\tb",
        "é",
        "x\u00a0",
        "\x00",
        "\x1f",
        "Allen, Miss. E",
        "Mr",
        "male",
        "S",
        "NA",
        "A" * 70,
        "\ud800",
        "“”",
    ]
)
_NUMBERS = st.sampled_from([0, -0.0, 0.0, 1, 2.0, 3, 20, 21, -1, 120, 120.5, 100_000, 100_001, 2**53 + 1, 10**30]) | (
    st.floats(allow_nan=True, allow_infinity=True)
)
_ANYTHING = st.none() | st.booleans() | _TEXTS | _NUMBERS | st.just([]) | st.just({})
_PASSENGERS = st.sampled_from(CAST).flatmap(
    lambda person: st.dictionaries(st.sampled_from([*FIELD_NAMES, "x"]), _ANYTHING, max_size=3).map(
        lambda changes: {**person, **changes}
    )
)


@given(_PASSENGERS)
def test_values_are_typed_and_blanks_at_the_ends_change_nothing(person: dict[str, Any]) -> None:
    values, violations = CONTRACT.check(person)

    padded = {name: f" {value}\t" if isinstance(value, str) else value for name, value in person.items()}
    assert CONTRACT.check(padded) == (values, violations)
    if not violations:
        kinds = {field.name: int if field.is_integer else float if field.is_numeric else str for field in FIELDS}
        assert [(name, type(value)) for name, value in values.items() if value is not None] == [
            (name, kind) for name, kind in kinds.items() if values[name] is not None
        ]
        assert "-0.0" not in map(repr, values.values())


cells = st.one_of(
    st.sampled_from(
        ["", " ", "1", "3", "-0", "22", "0.5", "male", "M", "female", "S", "Mrs", "Mr", "nan", "1e999", "4"]
    ),
    st.text(max_size=8),
)


@given(rows=st.lists(st.fixed_dictionaries(dict.fromkeys(FIELD_NAMES, cells)), max_size=6))
def test_one_row_and_many_are_judged_alike(rows: list[dict[str, str]]) -> None:
    cells = pl.DataFrame(rows, schema=dict.fromkeys(FIELD_NAMES, pl.String))

    checked = table_validation.check_columns(FIELDS, cells, rules=RULES)

    spelt = [Spellings().spell_row(FIELDS, row) for row in rows]
    alone = [CONTRACT.check(row, is_text=True) for row in spelt]
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
