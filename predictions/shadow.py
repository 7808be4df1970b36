"""Challengers in the shadow: what they would have answered, scored by workers off the request path."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
from django.db import connection
from django.db.models import Exists, OuterRef
from django.utils import timezone

from features.definition import derive
from ingestion.passenger import to_columns
from predictions import load_failures
from predictions.model_comparison import ModelComparison, PairedPredictions, compare
from predictions.models import Outcome, Prediction, PredictionQuerySet, ShadowScore, lowest_id
from training import registry
from training.artifact import Artifact, ArtifactError
from training.models import ModelVersion, Stage, StageChange

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 5_000
#: So many predictions from before it became a challenger are scored too: there is something to see at once.
ROWS_BEFORE = 5_000
#: A task scores for so many rows at most and leaves the rest to the next: the queue is others' too.
ROWS_IN_A_TASK = 200_000
#: The comparison looks at the latest so many.
ROWS_COMPARED = 100_000
# The log is drained every second, yet not in the order of the ids: what came late is looked for behind the last one.
_OVERLAP = timedelta(minutes=2)


def score_all() -> int:
    """Score what each challenger has not seen yet, and return how many answers that was."""
    return sum(_score(version) for version in ModelVersion.objects.challengers())


@dataclass(frozen=True)
class Comparison:
    """A challenger beside what was answered: figures, and the passengers on whom the two are furthest apart."""

    agreement: ModelComparison
    furthest: list[tuple[Prediction, float]]


def comparison(version: ModelVersion, *, count: int = 10) -> Comparison | None:
    """How a challenger's answers compare with those that were given, over the latest; None before the first."""
    with connection.cursor() as cursor:
        cursor.execute(_PAIRS, [version.version, ROWS_COMPARED])
        rows = cursor.fetchall()
    if not rows:
        return None
    ids, logged, logged_verdicts, shadow, shadow_verdicts, outcomes = zip(*rows, strict=True)
    pairs = PairedPredictions(
        logged=np.array(logged),
        logged_verdicts=np.array(logged_verdicts),
        shadow=np.array(shadow),
        shadow_verdicts=np.array(shadow_verdicts),
        outcomes=np.array(outcomes, dtype=float),
    )
    apart = np.argsort(-np.abs(pairs.shadow - pairs.logged), kind="stable")[:count].tolist()
    found = Prediction.objects.in_bulk([ids[place] for place in apart])
    return Comparison(compare(pairs), [(found[ids[place]], shadow[place]) for place in apart if ids[place] in found])


# The answers as they were given, each with the model of its time.
_PAIRS = f"""
    SELECT p.id, p.probability, p.survived, s.probability, s.survived, o.survived::int
      FROM {ShadowScore._meta.db_table} s
      JOIN {Prediction._meta.db_table} p ON p.id = s.prediction_id
      LEFT JOIN {Outcome._meta.db_table} o ON o.prediction_id = s.prediction_id
     WHERE s.model_version = %s
     ORDER BY s.prediction_id DESC
     LIMIT %s
"""


def _score(version: ModelVersion) -> int:
    try:
        artifact = registry.load(version)
    except ArtifactError as error:
        logger.error("model %s cannot score in the shadow: %s", version.version, error)  # noqa: TRY400
        load_failures.record(version.version, str(error))
        return 0
    load_failures.clear(version.version)
    scored, after = 0, _begin(version)
    while scored < ROWS_IN_A_TASK:
        rows = list(_unseen(version, after)[:ROWS_AT_ONCE])
        if not rows:
            break
        scored += _keep(version, artifact, rows)
        after = rows[-1].pk
    return scored


def _begin(version: ModelVersion) -> UUID:
    """The id behind which what is unseen begins."""
    since = StageChange.objects.filter(version=version, after=Stage.CHALLENGER).order_by("-at")[0].at
    before = Prediction.objects.until(since).order_by("-id").values_list("id", flat=True)[ROWS_BEFORE - 1 : ROWS_BEFORE]
    first = next(iter(before), lowest_id(datetime.fromtimestamp(0, UTC)))
    last = ShadowScore.objects.filter(model_version=version.version).order_by("-prediction_id").first()
    # One that was retired and challenges again is not asked about the time between.
    return first if last is None else max(first, lowest_id(_moment_of(last.prediction_id) - _OVERLAP))


def _moment_of(prediction_id: UUID) -> datetime:
    """When an id was made: a UUID of version 7 begins with milliseconds (RFC 9562)."""
    return datetime.fromtimestamp((prediction_id.int >> 80) / 1000, UTC)


def _unseen(version: ModelVersion, after: UUID) -> PredictionQuerySet:
    seen = ShadowScore.objects.filter(model_version=version.version, prediction_id=OuterRef("pk"))
    return Prediction.objects.filter(~Exists(seen), id__gte=after).order_by("id")


def _keep(version: ModelVersion, artifact: Artifact, rows: list[Prediction]) -> int:
    """Score rows and write the answers; what another worker wrote meanwhile stays as it is."""
    passengers = [row.as_row() for row in rows]
    probabilities = artifact.score(derive(to_columns(passengers)))
    now = timezone.now()
    scores = [
        ShadowScore(
            model_version=version.version,
            prediction_id=row.pk,
            probability=probability,
            survived=probability >= version.threshold,
            created_at=now,
        )
        for row, probability in zip(rows, probabilities.tolist(), strict=True)
    ]
    ShadowScore.objects.bulk_create(scores, ignore_conflicts=True)
    return len(scores)
