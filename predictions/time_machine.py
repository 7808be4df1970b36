"""What other versions answer to a logged row: each one today, and the one that was serving on a chosen day."""

import hashlib
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

import msgspec
from redis.exceptions import RedisError

from core import redis
from core.errors import Unavailable
from predictions import scorer
from predictions.models import Prediction
from training import registry
from training.artifact import ArtifactError
from training.models import ModelVersion, StageChange

#: The newest versions that are asked, beside the one that answered.
MOST_VERSIONS = 8
#: For how many seconds an answer is cached; asked again it is the same.
CACHE_SECONDS = 24 * 60 * 60


class VersionAnswer(NamedTuple):
    """What a version answers: its probability, None where its file cannot be used, and why not."""

    version: ModelVersion
    probability: float | None
    error: str = ""

    @property
    def predicted(self) -> bool:
        """Whether the probability reaches the version's threshold."""
        return (self.probability or 0) >= self.version.threshold

    @property
    def threshold(self) -> float:
        return self.version.threshold


def today(prediction: Prediction) -> list[VersionAnswer]:
    """Ask the newest versions, and the one that answered, the newest first."""
    newest = list(ModelVersion.objects.order_by("-version")[:MOST_VERSIONS])
    if prediction.model_version not in [version.version for version in newest]:
        newest += ModelVersion.objects.filter(version=prediction.model_version)
    return [answer(version, prediction) for version in newest]


def at(moment: datetime, prediction: Prediction) -> tuple[StageChange, VersionAnswer] | None:
    """Ask the version that was serving at a moment, with its promotion; None when none was serving yet."""
    promotion = registry.champion_at(moment)
    return None if promotion is None else (promotion, answer(promotion.version, prediction))


def answer(version: ModelVersion, prediction: Prediction) -> VersionAnswer:
    """Score a logged row with a version. Of loaded graphs few are kept; answers are cached."""
    matrix = scorer.matrix_of([prediction])
    row = hashlib.sha256(matrix.tobytes()).hexdigest()
    key = f"predictions:version_answer:{version.sha256}:{row}"
    with suppress(RedisError):
        cached = redis.client().get(key)
        if cached is not None:
            return VersionAnswer(version, msgspec.json.decode(cached, type=float))
    try:
        probability = float(scorer.get_version(version.version).artifact.score(matrix)[0])
    except (ArtifactError, Unavailable) as error:
        return VersionAnswer(version, None, str(error))
    with suppress(RedisError):
        redis.client().set(key, msgspec.json.encode(probability), ex=CACHE_SECONDS)
    return VersionAnswer(version, probability)
