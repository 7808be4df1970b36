"""Cross-validation's folds: stratified, and no group on both sides."""

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from core.messages import Message as _
from training.training_data import Examples, Labels

FOLDS = 5

Split = tuple[NDArray[np.intp], NDArray[np.intp]]


class NotEnoughData(ValueError):
    """There are too few rows or groups of one label to train and to judge."""


def stratified(examples: Examples, *, seed: int, count: int = FOLDS) -> list[Split]:
    """Split into (train, test) pairs of row numbers that keep each group whole; raises NotEnoughData."""
    if not examples.has_groups:
        return ungrouped(examples, seed=seed, count=count)
    _check(examples.labels)
    if len(np.unique(examples.groups)) < count:
        raise NotEnoughData(_("the rows fall into too few groups to keep each whole"))
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    splits = list(folds.split(examples.matrix, examples.labels, examples.groups))
    if any(len(set(examples.labels[rows].tolist())) < 2 for split in splits for rows in split):  # noqa: PLR2004 - both labels
        raise NotEnoughData(_("the rows fall into too few groups: some fold would have one label only"))
    return splits


def ungrouped(examples: Examples, *, seed: int, count: int = FOLDS) -> list[Split]:
    """Split without regard to groups: with related rows on both sides a model looks better than it is."""
    _check(examples.labels)
    folds = StratifiedKFold(count, shuffle=True, random_state=seed)
    return list(folds.split(examples.matrix, examples.labels))


def _check(labels: Labels) -> None:
    if min(labels.sum(), (~labels).sum()) < FOLDS:
        raise NotEnoughData(_("of each label there must be at least %(count)s rows to train on") % {"count": FOLDS})
