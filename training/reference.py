"""The training rows that live inputs are compared with: a sample of them travels with the model."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from features.definition import FEATURES, Matrix
from training.metrics import Input
from training.training_data import Examples, Groups, Probabilities

#: A larger table is sampled: more rows would make no test more certain that a window of live inputs decides.
MOST_ROWS = 50_000


@dataclass(frozen=True)
class Reference:
    """Features (n, features), the number of each row's group (n,), and probabilities by models that had not seen it.

    The model's own answers on rows that it learned from are bolder than those on others; hence the out-of-fold ones.
    They are None for a model of an earlier version of this product, which did not keep them.
    """

    matrix: Matrix
    groups: Groups
    probabilities: Probabilities | None = None

    @classmethod
    def sample(cls, train: Examples, probabilities: Probabilities | None = None, *, seed: int) -> Self:
        """Take at most `MOST_ROWS` training rows, in their order; `probabilities` has the shape (n,)."""
        drawn = np.sort(np.random.default_rng(seed).permutation(len(train.labels))[:MOST_ROWS])
        return cls(train.matrix[drawn], train.groups[drawn], None if probabilities is None else probabilities[drawn])

    def to_bytes(self) -> bytes:
        """Write an .npz file."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{name: array for name, array in vars(self).items() if array is not None})
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return cls(**arrays)


@dataclass(frozen=True)
class SeenValues:
    """What the training rows had: by feature the least and the most value, and whether some were unknown."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    has_unknown: NDArray[np.bool_]

    @classmethod
    def of(cls, inputs: Mapping[str, Input]) -> "SeenValues | None":
        """Read a model's record of its inputs; one of an earlier version of this product has no ranges."""
        described = [inputs[name] for name in FEATURES if name in inputs]
        if len(described) < len(FEATURES) or all(feature.low is None for feature in described):
            return None
        # A feature that was unknown in every row has no range: no value lies in it.
        low = [np.inf if feature.low is None else feature.low for feature in described]
        high = [-np.inf if feature.high is None else feature.high for feature in described]
        return cls(
            np.array(low, np.float32),
            np.array(high, np.float32),
            np.array([bool(feature.missing) for feature in described]),
        )

    def contain(self, matrix: Matrix) -> NDArray[np.bool_]:
        """Tell of each value, shape (n, features), whether it lies within those of the training rows."""
        return ((matrix >= self.low) & (matrix <= self.high)) | (np.isnan(matrix) & self.has_unknown)
