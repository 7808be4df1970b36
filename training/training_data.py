"""What a model learns from and is judged by, as arrays in one order."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from features.definition import Matrix, frame

if TYPE_CHECKING:
    import pandas as pd

Labels = NDArray[np.bool_]
Groups = NDArray[np.int64]
Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Examples:
    """Features (n, 11), labels, group numbers and hold-out flags of n rows, and what the baseline says of each."""

    matrix: Matrix
    labels: Labels
    groups: Groups
    is_holdout: Labels
    baseline: Labels

    def take(self, rows: Labels | NDArray[np.intp]) -> Self:
        """Some of the rows, chosen by flags or by number."""
        return type(self)(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})

    @property
    def train(self) -> Self:
        """The rows that a model may learn from."""
        return self.take(~self.is_holdout)

    @property
    def holdout(self) -> Self:
        """The rows that no model learns from."""
        return self.take(self.is_holdout)

    @property
    def features(self) -> "pd.DataFrame":
        """The features by name, for looking at them."""
        return frame(self.matrix)

    def save(self, path: Path) -> None:
        """Write them to an .npz file."""
        np.savez(path, **{item.name: getattr(self, item.name) for item in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{item.name: arrays[item.name] for item in fields(cls)})
