"""Why the model answered as it did: each field's share in the answer, and what another value would have changed.

The shares are exact Shapley values over the fields as they were asked, not over the features: a feature is derived from
others, and to change one alone describes a passenger who cannot be.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import numpy as np
from django.utils.translation import gettext as _
from redis.exceptions import RedisError

from core import redis
from core.errors import Conflict
from core.redis import RedisUnavailable
from features.definition import INPUTS, derive
from ingestion import passenger
from ingestion.contract import Columns, Value, rule_violations
from ingestion.json_validation import Row
from ingestion.passenger import FIELD_NAMES, FIELDS, IMMUTABLE, RULES
from predictions import shapley
from predictions.models import Prediction
from training import registry
from training.artifact import Artifact, ArtifactError
from training.models import ModelVersion

#: How long (seconds) an explanation is remembered; it is the same whenever it is made.
CACHE_SECONDS = 24 * 60 * 60
_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
# So many passengers' coalitions are scored at a time: some 65,000 rows.
_AT_ONCE = 4

FloatArray = shapley.FloatArray


class Share(msgspec.Struct, frozen=True):
    """What a field had to do with the answer, in probability."""

    field: str
    value: Value
    contribution: float


class Alternative(msgspec.Struct, frozen=True):
    """The answer to the same passenger but for one value, which passengers that the model learned from had.

    What `is_fixed` is nobody's to change: it says what the model makes of it, and is no advice.
    """

    field: str
    value: Value
    probability: float
    is_fixed: bool


class Explanation(msgspec.Struct, frozen=True):
    """An answer taken apart: `base`, the mean over passengers the model learned from, and the shares add up to it."""

    id: str
    model_version: int
    probability: float
    base: float
    contributions: list[Share]
    what_if: list[Alternative]


class Explainer(NamedTuple):
    """A version of the model, and passengers that it learned from."""

    artifact: Artifact
    background: list[Row]

    def shares(self, rows: Sequence[Row]) -> tuple[float, FloatArray]:
        """The base, and each input's share for each of n passengers, shape (n, inputs), in the order of `INPUTS`."""
        pieces = [self._shares(rows[start : start + _AT_ONCE]) for start in range(0, len(rows), _AT_ONCE)]
        return pieces[0][0], np.concatenate([shares for _base, shares in pieces])

    def _shares(self, rows: Sequence[Row]) -> tuple[float, FloatArray]:
        members = shapley.coalitions(len(INPUTS))
        ours, theirs = passenger.columns_from_rows(rows), passenger.columns_from_rows(self.background)
        columns: Columns = {}
        for place, names in enumerate(INPUTS.values()):
            is_in = members[:, place][:, None, None]
            for name in names:
                # (coalitions, passengers, background), in one line for the features.
                columns[name] = np.where(is_in, ours[name][None, :, None], theirs[name][None, None, :]).ravel()
        answers = self.artifact.score(derive(columns)).reshape(len(members), len(rows), len(self.background))
        worth = answers.mean(axis=2)
        # One by one: among others a sum is made in another order, and ends in another last digit.
        return float(worth[0, 0]), np.stack([shapley.values(column[:, None])[:, 0] for column in worth.T])

    def alternatives(self, row: Row) -> list[Alternative]:
        """What the model answers where one value is another; passengers who contradict themselves are left out."""
        asked = dict(zip(FIELD_NAMES, row, strict=True))
        changes = [
            (name, value, {**asked, **changed})
            for name in INPUTS
            for value, changed in self._values(name)
            if not rule_violations(RULES, {**asked, **changed}, severity="error")
        ]
        matrix = derive(passenger.to_columns([asked, *(changed for _name, _value, changed in changes)]))
        return [
            Alternative(name, value, probability, name in IMMUTABLE)
            for (name, value, _changed), features, probability in zip(
                changes, matrix[1:], self.artifact.score(matrix)[1:].tolist(), strict=True
            )
            # Another cabin or ticket is no other passenger to the model.
            if not np.array_equal(features, matrix[0], equal_nan=True)
        ]

    def _values(self, name: str) -> Iterator[tuple[Value, dict[str, Value]]]:
        """Values that were seen in training, each with all columns that change with it."""
        rule = next(rule for rule in FIELDS if rule.name == name)
        seen = [value for value in (row[FIELD_NAMES.index(name)] for row in self.background) if value is not None]
        if rule.choices:
            found: list[Any] = list(rule.choices)
        elif rule.is_numeric and seen:
            found = sorted(set(np.quantile(np.array(seen, float), _QUANTILES, method="nearest").tolist()))
            found = [int(value) if rule.is_integer else value for value in found]
        else:
            found = [*seen[:1], None]
        for value in found:
            yield value, {**dict.fromkeys(INPUTS[name]), name: value}


def explain(prediction: Prediction) -> Explanation:
    """Take a logged answer apart, with the version that gave it; raises Conflict when that cannot be asked any more."""
    name = f"predictions:why:{prediction.model_version}:{prediction.pk}"
    try:
        kept = redis.client().get(name)
    except RedisError:
        kept = None
    if kept is not None:
        return msgspec.json.decode(kept, type=Explanation)
    made = _explain(prediction)
    try:
        redis.client().set(name, msgspec.json.encode(made), ex=CACHE_SECONDS)
    except (*RedisUnavailable, RedisError):
        # It is made again when it is asked for again.
        pass
    return made


def explainer(version: int) -> Explainer:
    """The version with its background; raises Conflict when its file must not serve or it has none."""
    found = ModelVersion.objects.filter(version=version).first()
    if found is None:
        raise Conflict(_("The registry does not know model %(version)s any more.") % {"version": version})
    if not found.background:
        raise Conflict(_("%(version)s was made without passengers to compare with: train anew.") % {"version": found})
    try:
        return _load(version, found.sha256)
    except ArtifactError as error:
        message = _("The file of model %(version)s must not be used: %(reason)s.")
        raise Conflict(message % {"version": version, "reason": error}) from error


@lru_cache(maxsize=4)
def _load(version: int, sha256: str) -> Explainer:
    found = ModelVersion.objects.get(version=version, sha256=sha256)
    return Explainer(registry.load(found), [tuple(row) for row in found.background])


def _explain(prediction: Prediction) -> Explanation:
    model = explainer(prediction.model_version)
    asked = prediction.as_row()
    row = tuple(asked.values())
    base, shares = model.shares([row])
    return Explanation(
        str(prediction.pk),
        prediction.model_version,
        prediction.probability,
        base,
        [
            Share(name, next((asked[column] for column in columns if asked[column] is not None), None), share)
            for (name, columns), share in zip(INPUTS.items(), shares[0].tolist(), strict=True)
        ],
        model.alternatives(row),
    )
