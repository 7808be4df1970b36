"""What is to be trained, how far it is, and what comes of it: plain records that travel between processes."""

from msgspec import Struct

from training.metrics import Candidate, Metrics, Parameters
from training.training_data import GoldenRow

MOST_CANDIDATES = 1000
#: numpy takes no larger one.
LARGEST_SEED = 2**31 - 1


class TrainingSpec(Struct, frozen=True):
    """What to train; the same spec on the same examples makes the same model."""

    algorithm: str
    seed: int
    #: How many sets of hyper-parameters are tried; 0 takes the algorithm's own.
    candidates: int


class SearchProgress(Struct, frozen=True):
    """How many candidates are tried, of how many, and the best one of the present round."""

    tried: int
    of: int
    best: Candidate


class Progress(Struct, frozen=True):
    """How far a training is (0 to 1), and how far its search."""

    done: float
    search: SearchProgress | None = None


class TrainedModel(Struct, frozen=True):
    """A model as files (ONNX graph, pickle, reference rows), with golden rows, parameters, threshold and metrics."""

    graph: bytes
    pickle: bytes
    reference: bytes
    golden: list[GoldenRow]
    parameters: Parameters
    threshold: float
    metrics: Metrics
