"""What a model learns from and is judged by, as arrays in one order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.definition import Matrix

Labels = NDArray[np.bool_]


@dataclass(frozen=True)
class Examples:
    """Features (n, 11), labels, groups and hold-out flags of n rows, and what the baseline says of each."""

    matrix: Matrix
    labels: Labels
    groups: Sequence[str]
    is_holdout: Labels
    baseline: Labels
