"""Explain an answer: each input's contribution to it, and what another value would have changed.

The contributions are Shapley values of the inputs (`INPUTS`), not of the features: several features are derived from
one field, so that one of them changed alone would describe an impossible passenger.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
from redis.exceptions import RedisError

from core import redis
from core.errors import Conflict
from core.messages import Message as _
from features.definition import CODES, INPUTS, derive
from ingestion import schema
from ingestion.contract import Row, Value, rule_violations
from ingestion.passenger import IMMUTABLE, RULES
from ingestion.schema import FIELD_NAMES, FIELDS
from predictions import scorer, shapley
from predictions.models import Prediction
from training.artifact import Artifact, ArtifactError
from training.models import ModelVersion

#: For how many seconds an explanation is cached; computed again it is the same.
CACHE_SECONDS = 24 * 60 * 60
#: A file with explanations has at most so many rows: a million coalitions, each scored with every background row.
MAX_ROWS = 1_024_000 // len(shapley.design(len(INPUTS)).members)
_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)


class Contribution(msgspec.Struct, frozen=True):
    """An input's contribution to the probability; `field` is the input's name."""

    field: str
    value: Value
    contribution: float


class Alternative(msgspec.Struct, frozen=True):
    """The probability of the same row with another value of one field: a choice, or a value of the training data.

    A field that `is_fixed` cannot be changed in reality: its alternatives describe the model, and are no advice.
    """

    field: str
    value: Value
    probability: float
    is_fixed: bool


class Explanation(msgspec.Struct, frozen=True):
    """An explained answer: its probability is the sum of `base` and all contributions.

    `base` is the mean probability of the background passengers. The contributions are exact Shapley values, or
    estimated from sampled coalitions where there are many inputs.
    """

    id: str
    model_version: int
    probability: float
    base: float
    # drf-spectacular wants an enumeration to have a type.
    method: Annotated[Literal["exact", "sampled"], msgspec.Meta(extra_json_schema={"type": "string"})]
    contributions: list[Contribution]
    what_if: list[Alternative]


class Step(NamedTuple):
    """One step of a waterfall, from one probability to another: an input's contribution, or that of all others."""

    field: str
    value: Value
    start: float
    end: float

    @property
    def contribution(self) -> float:
        return self.end - self.start


class Explainer(NamedTuple):
    """A version's artifact, and background passengers from its training rows."""

    artifact: Artifact
    background: list[Row]

    def contributions(self, rows: Sequence[Row]) -> tuple[float, shapley.FloatArray]:
        """Return the base, and each input's contribution for each of n passengers: shape (n, inputs)."""
        inputs, background = list(INPUTS.values()), schema.columns_from_rows(self.background)

        def score(columns: shapley.Columns) -> shapley.FloatArray:
            return self.artifact.score(derive(columns))

        explained = [shapley.explain(score, inputs, schema.columns_from_rows([row]), background) for row in rows]
        # The base is the same for all rows.
        return explained[0][0], np.stack([contributions for _base, contributions in explained])

    def alternatives(self, row: Row) -> list[Alternative]:
        """Score the passenger with one field changed at a time, where that changes features and breaks no rule."""
        original = dict(zip(FIELD_NAMES, row, strict=True))
        changed_rows: dict[tuple[str, Value], dict[str, Value]] = {}
        for name, fields in INPUTS.items():
            for value in self.values_to_try(name):
                # The input's other fields become unknown: a new title would contradict the old name.
                changed = {**original, **dict.fromkeys(fields), name: value}
                if not rule_violations(RULES, changed, severity="error"):
                    changed_rows[name, value] = changed
        matrix = derive(schema.to_columns([original, *changed_rows.values()]))
        probabilities = self.artifact.score(matrix)[1:].tolist()
        return [
            Alternative(name, value, probability, name in IMMUTABLE)
            for (name, value), features, probability in zip(changed_rows, matrix[1:], probabilities, strict=True)
            if not np.array_equal(features, matrix[0], equal_nan=True)
        ]

    def values_to_try(self, name: str) -> list[Value]:
        """List the field's choices, quantiles of the background rows, or one of their values and None."""
        index = FIELD_NAMES.index(name)
        field, values = FIELDS[index], [row[index] for row in self.background if row[index] is not None]
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
    explainer = load_explainer(prediction.model_version)
    values = schema.as_row(prediction)
    row = tuple(values.values())
    base, contributions = explainer.contributions([row])
    explanation = Explanation(
        id=str(prediction.pk),
        model_version=prediction.model_version,
        probability=prediction.probability,
        base=base,
        method=shapley.design(len(INPUTS)).method,
        contributions=[
            Contribution(name, input_value(name, values), share)
            for name, share in zip(INPUTS, contributions[0].tolist(), strict=True)
        ],
        what_if=explainer.alternatives(row),
    )
    with suppress(RedisError):
        redis.client().set(key, msgspec.json.encode(explanation), ex=CACHE_SECONDS)
    return explanation


def input_value(name: str, values: Mapping[str, Value]) -> Value:
    """Return an input's value: its field's, or the word that its feature was read as from its other fields."""
    if values[name] is not None or all(values[field] is None for field in INPUTS[name]):
        return values[name]
    features = dict(scorer.features_of_passenger(values).items())
    words = (
        word
        for feature in CODES
        if feature.lower() == name
        for word, code in CODES[feature].items()
        if code == features[feature]
    )
    return next(words, None)


def waterfall(explained: Explanation, *, most: int | None = None) -> list[Step]:
    """List the steps from the base to the answer, the strongest first; those beyond `most` are one, without a field."""
    strongest = sorted(explained.contributions, key=lambda each: -abs(each.contribution))[:most]
    steps, reached = [], explained.base
    for each in strongest:
        steps.append(Step(each.field, each.value, reached, reached + each.contribution))
        reached += each.contribution
    if len(strongest) < len(explained.contributions):
        steps.append(Step("", None, reached, explained.probability))
    return steps


def load_explainer(version: int) -> Explainer:
    """Load a version and its background rows; raises Conflict when it has none, or its file must not be used."""
    model = ModelVersion.objects.filter(version=version).first()
    if model is None:
        raise Conflict(_("Model %(version)s is no longer in the registry.") % {"version": str(version)})
    if not model.background:
        raise Conflict(_("%(version)s has no background rows to compare with: retrain.") % {"version": model})
    try:
        return Explainer(scorer.get_version(version).artifact, [tuple(row) for row in model.background])
    except ArtifactError as error:
        message = _("The file of model %(version)s must not be used: %(reason)s.")
        raise Conflict(message % {"version": str(version), "reason": error}) from error
