"""The one definition of the features: training, store, form, API and scoring all derive them here."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

#: Raise it with every change of meaning below: a model never reads features of another version.
VERSION = "1"
#: A feature may have its field's name.
FEATURES: tuple[str, ...] = (
    "mean_radius", "mean_texture", "mean_perimeter",
    "mean_area", "mean_smoothness", "mean_compactness",
    "mean_concavity", "mean_concave_points", "mean_symmetry",
    "mean_fractal_dimension", "radius_error", "texture_error",
    "perimeter_error", "area_error", "smoothness_error",
    "compactness_error", "concavity_error", "concave_points_error",
    "symmetry_error", "fractal_dimension_error", "worst_radius",
    "worst_texture", "worst_perimeter", "worst_area",
    "worst_smoothness", "worst_compactness", "worst_concavity",
    "worst_concave_points", "worst_symmetry", "worst_fractal_dimension",
)  # fmt: skip
#: No feature is computed from others.
DERIVED: tuple[str, ...] = ()
INPUTS: Mapping[str, tuple[str, ...]] = {name: (name,) for name in FEATURES}
#: No feature is a code without an order.
CODES: Mapping[str, Mapping[str, float]] = {}
#: No feature is yes or no, and each is called as its field.
FLAGS: tuple[str, ...] = ()
DESCRIPTIONS: Mapping[str, tuple[str, str]] = {}

#: Micrometres at which the slices begin, near the terciles of the sample.
MEDIUM, LARGE = 12.3, 14.9

Matrix = NDArray[np.float32]


def derive(columns: Mapping[str, NDArray[Any]]) -> Matrix:
    """Return the features of n rows, shape (n, 30), NaN for unknown.

    >>> derive({name: np.array([1.5, np.nan]) for name in FEATURES}).shape
    (2, 30)
    """
    return np.column_stack([columns[name] for name in FEATURES]).astype(np.float32)


def slices(features: "pd.DataFrame") -> dict[str, NDArray[np.bool_]]:
    """Return which of n rows belong to each group that a model should serve alike, each of shape (n,)."""
    radius = features["mean_radius"]
    return {
        "Radius: small": (radius < MEDIUM).to_numpy(),
        "Radius: medium": radius.between(MEDIUM, LARGE, inclusive="left").to_numpy(),
        "Radius: large": (radius >= LARGE).to_numpy(),
    }
