"""The feature definition, and the mistakes of the old one."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from features.definition import FEATURES, derive
from ingestion.schema import CONTRACT, to_columns
from tests.people import CAST, ELISABETH, JAMES, NOBODY, OWEN


def features(*people: dict[str, Any]) -> list[dict[str, float]]:
    checked = [CONTRACT.check(person)[0] for person in people]
    return [dict(zip(FEATURES, row, strict=True)) for row in derive(to_columns(checked)).tolist()]


def test_it_works() -> None:
    (owen,) = features(OWEN)

    assert owen == {
        "Age": 22, "Fare": 7.25, "Pclass": 3, "Sex": 0, "Embarked": 2, "Familysize": 2, "Isalone": 0, "HasCabin": 0,
        "Title": 0, "Pclass_Fare": 21.75, "Age_Fare": 159.5,
    }  # fmt: skip


def test_the_matrix_is_float32_with_a_column_for_each_feature() -> None:
    matrix = derive(to_columns([CONTRACT.check(OWEN)[0]]))

    assert (matrix.dtype, matrix.shape) == (np.float32, (1, len(FEATURES)))


def test_what_is_unknown_stays_unknown() -> None:
    (james,) = features(JAMES)

    assert [name for name, value in james.items() if value != value] == ["Age", "Age_Fare"]
    assert james["HasCabin"] == 0


@pytest.mark.parametrize(
    ("sex", "age", "code"),
    [("female", None, 1), ("female", 40, 2), ("male", None, 0), ("male", 4, 3), ("male", 40, 0)],
)
def test_without_name_and_title_sex_and_age_say_the_likely_one(sex: str, age: float | None, code: int) -> None:
    assert features({**NOBODY, "sex": sex, "age": age})[0]["Title"] == code


@pytest.mark.parametrize(
    ("name", "code"),
    [("X, Mlle. Y", 1), ("X, Ms. Y", 1), ("X, Mme. Y", 2), ("X, Lady. Y", 4), ("X, the Countess. of (Y)", 4)],
)
def test_french_and_rare_titles_are_grouped(name: str, code: int) -> None:
    assert features({**NOBODY, "name": name})[0]["Title"] == code


def test_old_t14_a_code_does_not_depend_on_who_else_is_in_the_table() -> None:
    alone = features(ELISABETH)[0]["Embarked"]

    among = features(ELISABETH, JAMES, OWEN)[0]["Embarked"]

    assert alone == among == 2


def test_many_rows_and_one_give_the_same_bits() -> None:
    together = features(*CAST)

    assert repr(together) == repr([features(person)[0] for person in CAST])


@pytest.mark.parametrize(
    "module",
    [
        "ingestion.contract", "ingestion.split", "ingestion.table", "features.definition",
        "predictions.legacy_form",
        "training.fitting", "training.gate", "training.subprocess_training",
        "monitoring.drift",
    ],
)  # fmt: skip
def test_pure_modules_load_without_django(module: str) -> None:
    code = f"import {module}, sys; sys.exit(any(name.split('.')[0] in ('django', 'celery') for name in sys.modules))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
