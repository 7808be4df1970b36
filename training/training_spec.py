"""What a training is asked for, what it tells on the way, and what it makes: plain records that travel."""

from dataclasses import dataclass, field
from typing import Any

#: A search that is asked for without a number tries so many candidates: three rounds of 27, 9 and 3.
CANDIDATES = 27
MOST_CANDIDATES = 1000
#: numpy takes no larger one.
LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class TrainingSpec:
    """What to train; the same spec on the same examples makes the same model."""

    algorithm: str
    seed: int
    #: How many sets of hyper-parameters are tried; 0 takes the algorithm's own.
    candidates: int


@dataclass(frozen=True)
class Trial:
    """A candidate as it stood in the last round it came to."""

    parameters: dict[str, Any]
    log_loss: float
    spread: float


@dataclass(frozen=True)
class SearchProgress:
    """How far a search is, and the best candidate of the round."""

    tried: int
    of: int
    best: Trial


@dataclass(frozen=True)
class Progress:
    """How far a training is (0 to 1), and how its search stands."""

    done: float
    search: SearchProgress | None = None


@dataclass(frozen=True)
class TrainedModel:
    """A model as files, with its golden rows, parameters, threshold and figures."""

    graph: bytes = field(repr=False)
    pickle: bytes = field(repr=False)
    golden: list[Any] = field(repr=False)
    parameters: dict[str, Any]
    threshold: float
    metrics: dict[str, Any] = field(repr=False)
