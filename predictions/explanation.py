"""Explain an answer: each input's contribution to it, and what another value would have changed.

The contributions are Shapley values over the fields of a request, not over the features: a feature is derived from
fields, and to change one feature alone describes an impossible passenger.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
from django.utils.translation import gettext as _
from redis.exceptions import RedisError

from core import redis
from core.errors import Conflict
from features.definition import INPUTS, derive
from ingestion import schema
from ingestion.contract import Value, rule_violations
from ingestion.json_validation import Row
from ingestion.passenger import IMMUTABLE, RULES
from ingestion.schema import FIELD_NAMES, FIELDS
from predictions import scorer, shapley
from predictions.models import Prediction
from training.artifact import Artifact, ArtifactError
from training.models import ModelVersion

#: How long (seconds) an explanation is cached; it is the same whenever it is made.
CACHE_SECONDS = 24 * 60 * 60
#: How many rows of a file are explained at most: a million coalitions, each scored once for each background row.
MAX_ROWS = 1_024_000 // len(shapley.design(len(INPUTS)).members)
_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)

FloatArray = shapley.FloatArray


class Contribution(msgspec.Struct, frozen=True):
    """A field's contribution to the probability."""

    field: str
    value: Value
    contribution: float


class Alternative(msgspec.Struct, frozen=True):
    """The probability of the same row with one value changed, taken from the training data.

    A value that `is_fixed` cannot be changed in reality: it shows what the model does with it, and is no advice.
    """

    field: str
    value: Value
    probability: float
    is_fixed: bool


class Explanation(msgspec.Struct, frozen=True):
    """An answer explained: `base`, the mean over background passengers, and all contributions add up to it.

    The contributions are exact Shapley values, or estimated from sampled coalitions where there are many inputs.
    """

    id: str
    model_version: int
    probability: float
    base: float
    # drf-spectacular wants an enumeration to have a type.
    method: Annotated[Literal["exact", "sampled"], msgspec.Meta(extra_json_schema={"type": "string"})]
    contributions: list[Contribution]
    what_if: list[Alternative]


class Explainer(NamedTuple):
    """A version of the model, and background passengers from its training data."""

    artifact: Artifact
    background: list[Row]

    def contributions(self, rows: Sequence[Row]) -> tuple[float, FloatArray]:
        """Return the base, and each input's contribution for each of n passengers: shape (n, inputs)."""
        inputs, background = list(INPUTS.values()), schema.columns_from_rows(self.background)

        def score(columns: shapley.Columns) -> FloatArray:
            return self.artifact.score(derive(columns))

        explained = [shapley.explain(score, inputs, schema.columns_from_rows([row]), background) for row in rows]
        return explained[0][0], np.stack([contributions for _base, contributions in explained])

    def alternatives(self, row: Row) -> list[Alternative]:
        """Score the passenger with one value changed at a time; contradictory passengers are left out."""
        original = dict(zip(FIELD_NAMES, row, strict=True))
        # With a value change all columns of its input: the others become unknown.
        changes = [
            (name, value, {**original, **dict.fromkeys(INPUTS[name]), name: value})
            for name in INPUTS
            for value in self._training_values(name)
        ]
        changes = [change for change in changes if not rule_violations(RULES, change[2], severity="error")]
        matrix = derive(schema.to_columns([original, *(changed for _name, _value, changed in changes)]))
        return [
            Alternative(name, value, probability, name in IMMUTABLE)
            for (name, value, _changed), features, probability in zip(
                changes, matrix[1:], self.artifact.score(matrix)[1:].tolist(), strict=True
            )
            # Another cabin or ticket is no other passenger to the model.
            if not np.array_equal(features, matrix[0], equal_nan=True)
        ]

    def _training_values(self, name: str) -> list[Value]:
        """Choose values to try for an input: its choices, quantiles of the background, or one value and none."""
        field = FIELDS[FIELD_NAMES.index(name)]
        values = [value for value in (row[FIELD_NAMES.index(name)] for row in self.background) if value is not None]
        if field.choices:
            return list(field.choices)
        if field.is_numeric and values:
            quantiles = sorted(set(np.quantile(np.array(values, float), _QUANTILES, method="nearest").tolist()))
            return [int(value) if field.is_integer else value for value in quantiles]
        return [*values[:1], None]


def explain(prediction: Prediction) -> Explanation:
    """Explain a logged answer with the version that gave it; raises Conflict when that version cannot be used."""
    key = f"predictions:explanation:{prediction.model_version}:{prediction.pk}"
    with suppress(RedisError):
        cached = redis.client().get(key)
        if cached is not None:
            return msgspec.json.decode(cached, type=Explanation)
    model = explainer(prediction.model_version)
    values = schema.as_row(prediction)
    row = tuple(values.values())
    base, contributions = model.contributions([row])
    explanation = Explanation(
        str(prediction.pk),
        prediction.model_version,
        prediction.probability,
        base,
        shapley.design(len(INPUTS)).method,
        [
            Contribution(name, next((values[column] for column in columns if values[column] is not None), None), share)
            for (name, columns), share in zip(INPUTS.items(), contributions[0].tolist(), strict=True)
        ],
        model.alternatives(row),
    )
    with suppress(RedisError):
        redis.client().set(key, msgspec.json.encode(explanation), ex=CACHE_SECONDS)
    return explanation


def explainer(version: int) -> Explainer:
    """Load a version with its background; raises Conflict when its file must not be used or it has none."""
    model = ModelVersion.objects.filter(version=version).first()
    if model is None:
        raise Conflict(_("Model %(version)s is no longer in the registry.") % {"version": version})
    if not model.background:
        raise Conflict(_("%(version)s has no background rows to compare with: retrain.") % {"version": model})
    try:
        return Explainer(scorer.get_version(version).artifact, [tuple(row) for row in model.background])
    except ArtifactError as error:
        message = _("The file of model %(version)s must not be used: %(reason)s.")
        raise Conflict(message % {"version": version, "reason": error}) from error
