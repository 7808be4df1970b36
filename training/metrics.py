"""What a training measures of its model: one typed record, stored as JSON with the version.

`msgspec.to_builtins` makes the JSON, `msgspec.convert` reads it; a field says where JSON's name differs.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

from msgspec import Struct, field

from core.messages import Message

T = TypeVar("T")
#: Hyper-parameters by name.
Parameters = dict[str, str | int | float | None]


class Estimate(Struct, frozen=True, omit_defaults=True):
    """A figure: its mean over repeats, their standard deviation, and the bounds of its 95 % interval."""

    value: float = field(name="mean")
    spread: float | None = None
    low: float | None = None
    high: float | None = None


class Figures(Struct, Generic[T], frozen=True, kw_only=True, omit_defaults=True):
    """The figures of merit; accuracy is at the threshold, `ece` the expected calibration error."""

    accuracy: T
    roc_auc: T
    average_precision: T
    log_loss: T
    brier: T
    ece: T

    def items(self) -> Iterator[tuple[str, T]]:
        """Yield each figure with its name."""
        return ((name, getattr(self, name)) for name in FIGURE_NAMES)


FIGURE_NAMES = Figures.__struct_fields__


class CrossValidation(Figures[Estimate], frozen=True, kw_only=True, omit_defaults=True):
    """Figures by repeated cross-validation over the training rows."""

    folds: int
    repeats: int
    rows: int
    grouped_by: str | None = None


class Confusion(Struct, frozen=True):
    """Predicted against actual labels at the threshold, in rows."""

    true_negative: int
    false_positive: int
    false_negative: int
    true_positive: int

    @property
    def recall(self) -> float | None:
        """The share of actual positives that are predicted so; None without any."""
        return _share(self.true_positive, self.false_negative)

    @property
    def specificity(self) -> float | None:
        """The share of actual negatives that are predicted so; None without any."""
        return _share(self.true_negative, self.false_positive)

    @property
    def precision(self) -> float | None:
        """The share of predicted positives that are so; None without any."""
        return _share(self.true_positive, self.false_positive)


class Holdout(Figures[float], frozen=True, kw_only=True, omit_defaults=True):
    """Figures on the rows that nothing was chosen or fitted by, with 95 % intervals."""

    rows: int
    intervals: Figures[tuple[float, float]]
    confusion: Confusion

    def estimates(self) -> dict[str, Estimate]:
        """Give each figure with its interval, by name."""
        bounds = dict(self.intervals.items())
        return {name: Estimate(value, None, *bounds[name]) for name, value in self.items()}


class Baseline(Struct, frozen=True):
    """How good the plain rule is that every model has to beat."""

    accuracy: float


class Points(Struct, frozen=True, omit_defaults=True):
    """A curve as points; a calibration curve has the rows behind each."""

    x: list[float]
    y: list[float]
    count: list[int] | None = None


class Curves(Struct, frozen=True):
    """The curves of one set of predictions."""

    roc: Points
    precision_recall: Points
    calibration: Points


class Slice(Struct, frozen=True):
    """How good the model is on the rows of one slice: observed rate, mean prediction, accuracy with its interval."""

    slice: str
    rows: int
    share: float
    predicted: float
    accuracy: float
    low: float
    high: float
    log_loss: float


class ByEvaluation(Struct, Generic[T], frozen=True):
    """The same of the cross-validation and of the hold-out."""

    cross_validation: T
    hold_out: T


class Importance(Struct, frozen=True):
    """How much log loss rises when a feature is shuffled, and the standard deviation over folds and shuffles."""

    feature: str
    mean: float
    spread: float


class Input(Struct, frozen=True):
    """A feature in the training rows: how many different values, the share that is unknown, the least and the most.

    A model of an earlier version of this product does not know the range.
    """

    values: int
    missing: float
    low: float | None = None
    high: float | None = None


class Calibration(Struct, frozen=True):
    """The calibration that was chosen, by the log loss of each."""

    chosen: str
    log_loss: dict[str, float]


class Threshold(Struct, frozen=True):
    """The threshold that was chosen, the rule it was chosen by, and the accuracy y at each threshold x."""

    value: float
    rule: str
    x: list[float]
    y: list[float]


class Candidate(Struct, frozen=True):
    """Hyper-parameters and their mean log loss over the folds."""

    parameters: Parameters
    log_loss: float


class Trial(Candidate, frozen=True):
    """A candidate after its last round, with the standard deviation of its log loss over the folds."""

    spread: float


class Search(Struct, frozen=True):
    """The search for hyper-parameters: every candidate, the best first."""

    candidates: int
    seconds: float
    trials: list[Trial]


class Metrics(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that a training measures."""

    cross_validation: CrossValidation
    #: Without regard to groups: optimistic, to compare with what others measured so. None where rows have no groups.
    ungrouped: CrossValidation | None = None
    hold_out: Holdout
    #: None where the table has no rule to beat.
    baseline: Baseline | None = None
    curves: ByEvaluation[Curves]
    slices: ByEvaluation[list[Slice]]
    #: Most important first.
    importance: list[Importance]
    inputs: dict[str, Input]
    calibration: Calibration
    threshold: Threshold
    search: Search


#: What a check of the gate is called, by the name that is stored.
_CHECK_LABELS = {
    "input schema": Message("Input schema"),
    "features alive": Message("No constant features"),
    "file size": Message("File size"),
    "latency": Message("Latency"),
    "minimum accuracy": Message("Minimum accuracy"),
    "better than the rule": Message("Better than the baseline"),
    "calibration": Message("Calibration"),
    "no worse than the champion": Message("No worse than the champion"),
}
_NO_WORSE, _SLICE = "no worse than the champion", "slice "
#: What is wrong where a check fails, filled in with the parameters of its detail.
_PROBLEMS = {
    "features alive": Message("constant features: %(features)s"),
    "minimum accuracy": Message("accuracy %(accuracy)s is below %(least)s"),
    "better than the rule": Message("accuracy %(accuracy)s is not above the baseline, %(baseline)s"),
    "calibration": Message("calibration error %(error)s is above %(most)s"),
    _NO_WORSE: Message(
        "worse than %(champion)s in log loss by %(difference)s (95 %% upper bound %(high)s, must be below %(margin)s)"
    ),
}
_UNPROVED = Message(
    "not proved to be no worse than %(champion)s in log loss (95 %% upper bound %(high)s, must be below %(margin)s)"
)


class Check(Struct, frozen=True):
    """One condition of the gate, whether it holds, and the figures that say so.

    `name` is a code. An earlier version of this product stored the detail as a plain text.
    """

    name: str
    passed: bool
    detail: Message | str

    @property
    def label(self) -> Message:
        """The name for people."""
        if self.name.startswith(_SLICE):
            return Message("Slice %(slice)s", {"slice": Message(self.name.removeprefix(_SLICE))})
        return _CHECK_LABELS.get(self.name, Message(self.name))

    @property
    def problem(self) -> Message:
        """What is wrong, in one clause, where it has failed."""
        if isinstance(self.detail, str) or self.name not in _PROBLEMS:
            return Message("%(check)s: %(detail)s", {"check": self.label, "detail": self.detail})
        parameters = self.detail.parameters
        difference = parameters.get("difference")
        is_unproved = self.name == _NO_WORSE and isinstance(difference, (int, float)) and difference <= 0
        return Message((_UNPROVED if is_unproved else _PROBLEMS[self.name]).text, parameters)


class Verdict(Struct, frozen=True, kw_only=True):
    """The gate's result for a version; the more versions are judged on one hold-out, the more optimistic it becomes."""

    passed: bool
    rows: int
    holdout_uses: int = field(name="looks")
    checks: list[Check]

    @property
    def failed(self) -> list[Check]:
        """The checks that stand in the way of a promotion."""
        return [check for check in self.checks if not check.passed]


def _share(hits: int, misses: int) -> float | None:
    return hits / (hits + misses) if hits + misses else None
