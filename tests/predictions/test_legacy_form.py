"""The old form: understood, not believed, and optional."""

import importlib.util
import sys
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from features.definition import FEATURES
from ingestion.schema import FIELDS
from predictions import optional_legacy
from predictions.legacy_form import translate
from tests.people import OWEN
from training.models import ModelVersion

OLD = {"Age": 22, "Fare": 7.25, "Pclass": 3, "Sex": 0, "Embarked": 2, "Familysize": 2, "Isalone": 0,
       "HasCabin": 0, "Title": 0, "Pclass_Fare": 21.75, "Age_Fare": 159.5}  # fmt: skip
TEXTS = {name: str(value) for name, value in OLD.items()}


def test_it_works() -> None:
    row, violations = translate(TEXTS)

    assert violations == []
    assert (row["sex"], row["embarked"], row["title"], row["sibsp"], row["cabin"]) == ("male", "S", "Mr", 1, None)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("Sex", "7", "not_a_choice"),
        ("Age", "young", "not_a_number"),
        ("Familysize", "0", "out_of_range"),
        ("Isalone", "1", "contradiction"),
        ("Age_Fare", "1", "contradiction"),
    ],
)
def test_it_refuses_by_the_old_name(name: str, value: str, code: str) -> None:
    (violation,) = translate({**TEXTS, name: value})[1]

    assert (violation.field, violation.code) == (name, code)


def test_a_product_that_was_rounded_is_no_contradiction() -> None:
    assert translate({**TEXTS, "Age_Fare": "159.51"})[1] == []


def test_a_product_of_an_unknown_age_is_a_contradiction() -> None:
    (violation,) = translate({**TEXTS, "Age": ""})[1]

    assert violation.field == "Age_Fare"


def test_what_the_contract_refuses_has_the_old_name() -> None:
    violations = optional_legacy.check_row({**TEXTS, "Age": "200", "Age_Fare": ""})[1]

    assert [violation.field for violation in violations] == ["Age"]


def test_a_feature_named_like_its_field_makes_no_post_an_old_form(
    client: Client, api: APIClient, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optional_legacy, "FEATURES", [name.lower() if name == "Age" else name for name in FEATURES])

    form = client.post("/predict", OWEN)
    tensors = api.post("/v2/models/titanic/infer", {"inputs": tensors_of(OWEN)}, format="json")

    assert (form.status_code, tensors.status_code) == (200, 200)
    assert optional_legacy.is_legacy(["age", "Fare"])
    assert not optional_legacy.is_legacy(["age"])


@pytest.fixture
def deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load what understands the old form as if its file were not there."""
    monkeypatch.setitem(sys.modules, "predictions.legacy_form", None)
    fresh = importlib.util.module_from_spec(optional_legacy.__spec__)
    optional_legacy.__spec__.loader.exec_module(fresh)
    monkeypatch.setattr(optional_legacy, "legacy_form", fresh.legacy_form)


@pytest.mark.usefixtures("deleted")
def test_without_its_file_the_old_form_is_not_understood(client: Client, champion: ModelVersion) -> None:
    ours, old = client.post("/predict", OWEN), client.post("/predict", OLD)

    assert optional_legacy.legacy_form is None
    assert ours.status_code == 200
    assert old.status_code == 400


@pytest.mark.usefixtures("deleted")
def test_without_its_file_tensors_are_of_fields(api: APIClient, champion: ModelVersion) -> None:
    metadata = api.get("/v2/models/titanic").json()
    answered = api.post("/v2/models/titanic/infer", {"inputs": tensors_of(OWEN)}, format="json")
    refused = api.post("/v2/models/titanic/infer", {"inputs": tensors_of(OLD)}, format="json")

    types = {described["name"]: described["datatype"] for described in metadata["inputs"]}
    assert list(types) == [field.name for field in FIELDS]
    assert (types["age"], types["pclass"], types["sex"]) == ("FP64", "INT64", "BYTES")
    assert answered.status_code == 200
    assert refused.status_code == 400


def tensors_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "shape": [1], "datatype": "BYTES" if isinstance(value, str) else "FP64", "data": [value]}
        for name, value in row.items()
    ]
