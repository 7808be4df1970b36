"""Shadow scoring: workers score logged predictions with each challenger, off the request path."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import numpy as np
from django.conf import settings
from django.db import connection
from django.db.models import Exists, OuterRef
from django.utils import timezone

from core.messages import of_error
from predictions import load_failures, scorer
from predictions.model_comparison import ModelComparison, compare
from predictions.models import Outcome, Prediction, ShadowScore, lowest_id, made_at
from training import registry
from training.artifact import ArtifactError
from training.models import ModelVersion, Stage, StageChange

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 5_000
#: How many predictions made before a version became a challenger are scored too, so that there is something to see.
ROWS_BEFORE = 5_000
#: How many rows a task scores before it leaves the rest to the next one, and the queue to others.
ROWS_IN_A_TASK = 200_000
#: How many of the latest predictions are compared.
ROWS_COMPARED = 100_000
# The log is not drained in the order of the ids: rows that were late are found before the last one scored.
_OVERLAP = timedelta(minutes=2)


def score_all() -> int:
    """Score with each challenger the predictions it has not scored yet; returns the number of scores."""
    return sum(_score(version) for version in ModelVersion.objects.challengers())


def delete_before(moment: datetime) -> int:
    """Delete the scores of predictions made before a moment, and return how many those were."""
    return ShadowScore.objects.filter(prediction_id__lt=lowest_id(moment)).delete()[0]


@dataclass(frozen=True)
class ShadowComparison:
    """A challenger compared with the logged answers: figures, and the predictions on which they differ most."""

    figures: ModelComparison
    furthest: list[tuple[Prediction, float]]


def comparison(version: ModelVersion, *, count: int = 10) -> ShadowComparison | None:
    """Compare a challenger's answers with the latest logged ones; None before the first."""
    with connection.cursor() as cursor:
        cursor.execute(_PAIRS, [version.version, ROWS_COMPARED])
        rows = cursor.fetchall()
    if not rows:
        return None
    ids, *columns = zip(*rows, strict=True)
    logged, logged_verdicts, shadow, shadow_verdicts, outcomes = map(np.array, columns)
    figures = compare(
        logged=logged,
        logged_verdicts=logged_verdicts,
        shadow=shadow,
        shadow_verdicts=shadow_verdicts,
        outcomes=outcomes.astype(float),
    )
    furthest = np.argsort(-np.abs(shadow - logged), kind="stable")[:count].tolist()
    predictions = Prediction.objects.in_bulk([ids[index] for index in furthest])
    return ShadowComparison(
        figures, [(predictions[ids[index]], float(shadow[index])) for index in furthest if ids[index] in predictions]
    )


# The logged answers, each by the champion of its time, with the challenger's and the outcomes.
_PAIRS = f"""
    SELECT p.id, p.probability, p.predicted, s.probability, s.predicted, o.actual::int
      FROM {ShadowScore._meta.db_table} s
      JOIN {Prediction._meta.db_table} p ON p.id = s.prediction_id
      LEFT JOIN {Outcome._meta.db_table} o ON o.prediction_id = s.prediction_id
     WHERE s.model_version = %s
     ORDER BY s.prediction_id DESC
     LIMIT %s
"""  # noqa: S608 - names of tables and columns are the code's own


def _score(version: ModelVersion) -> int:
    try:
        artifact = registry.load(version)
    except ArtifactError as error:
        logger.error("model %s cannot do shadow scoring: %s", version.version, error)  # noqa: TRY400 - the reason is in the message
        load_failures.record(version.version, of_error(error))
        return 0
    load_failures.clear(version.version)
    scores = ShadowScore.objects.filter(model_version=version.version, prediction_id=OuterRef("pk"))
    unscored = Prediction.objects.filter(~Exists(scores)).order_by("id")
    scored, after = 0, _first_unscored(version)
    while scored < ROWS_IN_A_TASK:
        rows = list(unscored.filter(id__gte=after)[:ROWS_AT_ONCE])
        if not rows:
            break
        probabilities = artifact.score(scorer.matrix_of(rows)).tolist()
        now = timezone.now()
        # Scores that another worker stored meanwhile stay as they are.
        ShadowScore.objects.bulk_create(
            (
                ShadowScore(
                    model_version=version.version,
                    prediction_id=row.pk,
                    probability=probability,
                    predicted=probability >= version.threshold,
                    created_at=now,
                )
                for row, probability in zip(rows, probabilities, strict=True)
            ),
            ignore_conflicts=True,
        )
        scored, after = scored + len(rows), rows[-1].pk
    return scored


def _first_unscored(version: ModelVersion) -> UUID:
    """Return the lowest id that the version may not have scored yet."""
    since = StageChange.objects.filter(version=version, after=Stage.CHALLENGER).order_by("-at")[0].at
    before = Prediction.objects.until(since).order_by("-id").values_list("id", flat=True)[ROWS_BEFORE - 1 : ROWS_BEFORE]
    first = next(iter(before), UUID(int=0))
    if days := settings.SHADOW_SCORES_KEPT_DAYS:
        # What was deleted is not scored again.
        first = max(first, lowest_id(timezone.now() - timedelta(days=days)))
    last = ShadowScore.objects.filter(model_version=version.version).order_by("-prediction_id").first()
    # A version that was retired and is a challenger again does not score the time between.
    return first if last is None else max(first, lowest_id(made_at(last.prediction_id) - _OVERLAP))
