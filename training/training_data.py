"""What a model is trained on and judged by, as arrays in one order."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from features.definition import FEATURES, Matrix

if TYPE_CHECKING:
    import pandas as pd

Labels = NDArray[np.bool_]
Groups = NDArray[np.int64]
Probabilities = NDArray[np.float64]


class GoldenRow(NamedTuple):
    """A row of features (None is unknown) and the probability that the fitted pipeline itself gave."""

    features: Sequence[float | None]
    probability: float


@dataclass(frozen=True)
class Examples:
    """Features (n, features), labels, groups and hold-out flags of n rows, and what the baseline rule predicts."""

    matrix: Matrix
    labels: Labels
    #: The number of each row's group; rows without groups have a number each.
    groups: Groups
    is_holdout: Labels
    #: None where the table has no rule to beat.
    baseline: Labels | None = None

    def take(self, rows: Labels | NDArray[np.intp]) -> Self:
        """Select rows by flags or by number."""
        return type(self)(**{name: array[rows] for name, array in self._arrays().items()})

    @property
    def train(self) -> Self:
        """The rows that a model may learn from."""
        return self.take(~self.is_holdout)

    @property
    def holdout(self) -> Self:
        """The rows that no model learns from."""
        return self.take(self.is_holdout)

    @property
    def has_groups(self) -> bool:
        """Whether some rows belong together."""
        return len(np.unique(self.groups)) < len(self.groups)

    @property
    def features(self) -> "pd.DataFrame":
        """The features by name."""
        # The web process, which knows this class, stays without pandas.
        import pandas as pd

        return pd.DataFrame(self.matrix, columns=list(FEATURES))

    def save(self, path: Path) -> None:
        """Write them to an .npz file."""
        np.savez(path, **self._arrays())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**arrays)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {name: array for name, array in vars(self).items() if array is not None}
