"""Rows of the training data that are most like a logged one, and what became of them."""

from typing import NamedTuple

import numpy as np

from features.definition import CODES, DERIVED, FEATURES, INPUTS, derive
from ingestion import schema
from ingestion.contract import Value
from ingestion.models import Passenger
from ingestion.passenger import LABEL, describe
from predictions import explanation, scorer
from predictions.models import Prediction
from training.models import ModelVersion

#: How many rows are compared, and how many are shown.
MOST_ROWS, SHOWN = 5_000, 5


class SimilarRow(NamedTuple):
    """A training row, its label, and the inputs in which it differs, by name."""

    passenger: Passenger
    label: bool
    differences: dict[str, Value]

    @property
    def summary(self) -> str:
        """The passenger in a few words."""
        return describe(self.passenger)


def of(prediction: Prediction, version: ModelVersion) -> list[SimilarRow]:
    """Find the training rows nearest to a prediction's; none when the dataset is archived.

    The distance is the mean over the features that are not derived from others: in standard deviations of the rows
    compared, 1 for another code, 1 where one of the two is unknown.
    """
    # At most so many, in the order of storage: to sort a large table would take seconds.
    training = version.feature_batch.passengers.filter(is_holdout=False, **{f"{LABEL}__isnull": False})
    rows = list(training.order_by()[:MOST_ROWS])
    if not rows:
        return []
    columns = [place for place, name in enumerate(FEATURES) if name not in DERIVED]
    is_code = np.array([FEATURES[place] in CODES for place in columns])
    matrix = derive(schema.to_columns([schema.as_row(row) for row in rows]))[:, columns]
    own = scorer.matrix_of([prediction])[0, columns]
    known_counts = np.maximum((~np.isnan(matrix)).sum(axis=0), 1)
    means = np.nansum(matrix, axis=0) / known_counts
    spread = np.sqrt(np.nansum((matrix - means) ** 2, axis=0) / known_counts)
    gaps = np.abs(matrix - own) / np.where(spread > 0, spread, 1)
    gaps = np.where(is_code, matrix != own, gaps)
    is_unknown, is_own_unknown = np.isnan(matrix), np.isnan(own)
    gaps = np.where(is_unknown | is_own_unknown, is_unknown != is_own_unknown, gaps)
    nearest = np.argsort(gaps.mean(axis=1), kind="stable")[:SHOWN]
    return [_compare(rows[place], prediction) for place in nearest.tolist()]


def _compare(row: Passenger, prediction: Prediction) -> SimilarRow:
    values, own = schema.as_row(row), schema.as_row(prediction)
    pairs = [(name, explanation.input_value(name, values), explanation.input_value(name, own)) for name in INPUTS]
    return SimilarRow(row, bool(getattr(row, LABEL)), {name: value for name, value, other in pairs if value != other})
