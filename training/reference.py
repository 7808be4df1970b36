"""The training rows that live inputs are compared with: a sample of them travels with the model."""

import io
from dataclasses import dataclass
from typing import Self

import numpy as np

from features.definition import Matrix
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
