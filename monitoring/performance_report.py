"""What a performance check finds: one typed record, stored as JSON with the check."""

from datetime import datetime

from msgspec import Struct

from training.metrics import Estimate, Metrics


class PerformanceFigures(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Figures with their intervals, as a training has them; one that cannot be computed is missing."""

    accuracy: Estimate | None = None
    log_loss: Estimate | None = None
    brier: Estimate | None = None
    roc_auc: Estimate | None = None
    ece: Estimate | None = None


class GroupPerformance(Struct, frozen=True, omit_defaults=True):
    """Figures on the known outcomes of a group of predictions, beside those that the training leads to expect."""

    name: str
    count: int
    #: The observed rate of the label, and the mean predicted probability.
    observed: float
    predicted: float
    figures: PerformanceFigures
    expected: PerformanceFigures

    @property
    def is_less_accurate(self) -> bool:
        """Whether the accuracy is below what is expected by more than chance: its whole interval is."""
        measured, expected = self.figures.accuracy, self.expected.accuracy
        if measured is None or measured.high is None or expected is None:
            return False
        return measured.high < expected.value


class PredictionChunk(Struct, frozen=True, omit_defaults=True):
    """Predictions that follow each other: figures estimated of all, and realised on those whose outcome is known."""

    start: datetime
    end: datetime
    count: int
    known_count: int
    estimated: PerformanceFigures
    realised: PerformanceFigures
    #: The scoring job, of a file.
    scoring_job: int | None = None

    @property
    def middle(self) -> datetime:
        """Where it stands on a chart."""
        return self.start + (self.end - self.start) / 2


class PredictionWindow(Struct, frozen=True, omit_defaults=True):
    """The latest predictions, in chunks from the oldest to the newest, and the estimate over all of them."""

    count: int
    known_count: int
    estimated: PerformanceFigures
    chunks: list[PredictionChunk]

    @property
    def known_share(self) -> float | None:
        """The share of the predictions whose outcome is known; None without any."""
        return self.known_count / self.count if self.count else None


class PerformanceReport(Struct, frozen=True, omit_defaults=True):
    """All that a check finds; files are apart from live requests, and are a chunk each."""

    expected: PerformanceFigures
    live: PredictionWindow
    files: PredictionWindow
    #: None without outcomes.
    overall: GroupPerformance | None = None
    slices: list[GroupPerformance] = []
    channels: list[GroupPerformance] = []


def expected_figures(metrics: Metrics) -> PerformanceFigures:
    """Take the figures of the cross-validation: on several times the rows of the hold-out, there is less noise."""
    validated = dict(metrics.cross_validation.items())
    return PerformanceFigures(**{name: validated[name] for name in PerformanceFigures.__struct_fields__})


def expected_by_slice(metrics: Metrics) -> dict[str, PerformanceFigures]:
    """Take the figures of each slice in the cross-validation."""
    return {
        part.slice: PerformanceFigures(
            accuracy=Estimate(part.accuracy, None, part.low, part.high), log_loss=Estimate(part.log_loss)
        )
        for part in metrics.slices.cross_validation
    }
