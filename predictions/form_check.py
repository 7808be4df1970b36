"""Check the form while it is filled in: what is wrong at each field, and what the features would be."""

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

import numpy as np

from features.definition import DESCRIPTIONS, derive
from ingestion import contract, schema
from ingestion.passenger import RULES
from ingestion.schema import CONTRACT, FIELD_NAMES, FIELDS
from ingestion.validation_messages import by_field
from predictions import feature_table, scorer
from predictions.feature_table import ShownFeature

Messages = dict[str, list[tuple[str, str]]]


class FormCheck(NamedTuple):
    """Errors and warnings by field, and the derived features; a value that cannot be told yet is absent."""

    errors: Messages
    warnings: Messages
    features: list[ShownFeature]


def check(form: Mapping[str, str]) -> FormCheck:
    """Check what is filled in so far: a required field that is still empty is no error yet."""
    raw = {name: form.get(name, "") for name in FIELD_NAMES}
    values, violations = CONTRACT.check(raw, is_text=True)
    warnings = [] if violations else contract.rule_violations(RULES, values, severity="warning")
    errors = by_field(violation for violation in violations if violation.code != "required")
    return FormCheck(errors, by_field(warnings), _derived(values))


def _derived(values: Mapping[str, contract.Value]) -> list[ShownFeature]:
    """Derive the features that are no fields, from the fields that are valid."""
    missing = [field for field in FIELDS if field.is_required and field.choices and field.name not in values]
    known = {field.name: values.get(field.name, field.default) for field in FIELDS}
    # What a field that is still to be chosen decides, differs from choice to choice.
    rows = [
        known | dict(zip((field.name for field in missing), choices, strict=True))
        for choices in product(*(field.choices for field in missing))
    ]
    matrix = derive(schema.to_columns(rows))
    is_decided = ((matrix == matrix[0]) | (np.isnan(matrix) & np.isnan(matrix[0]))).all(axis=0)
    features = feature_table.of(scorer.Features(*matrix[0].tolist()))
    return [
        feature if decided else feature._replace(value="…")
        for feature, decided in zip(features, is_decided, strict=True)
        if feature.name in DESCRIPTIONS
    ]
