"""The champion's performance on recorded outcomes."""

from dataclasses import dataclass

import numpy as np
from django.db import connection

from predictions.model_comparison import FEWEST_OUTCOMES, ModelQuality, quality
from predictions.models import Outcome, Prediction
from training.models import ModelVersion

#: How many of the latest outcomes, of whichever model, are read: a scrape waits for them.
WINDOW = 5_000


@dataclass(frozen=True)
class Live:
    """The champion's quality on those of the latest outcomes that are of its predictions; None without any."""

    version: ModelVersion
    count: int
    quality: ModelQuality | None

    @property
    def is_enough(self) -> bool:
        """Whether the outcomes are enough for the figures to say something."""
        return self.count >= FEWEST_OUTCOMES


def live() -> Live | None:
    """Measure the champion's live performance; None without a champion."""
    champion = ModelVersion.objects.champion()
    if champion is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN, [WINDOW, champion.version])
        rows = cursor.fetchall()
    if not rows:
        return Live(champion, 0, None)
    labels, probabilities, verdicts = (np.array(column) for column in zip(*rows, strict=True))
    return Live(champion, len(rows), quality(labels, probabilities, verdicts))


# Ids are ordered by time. Each is looked up by itself: a join may be planned as a scan of every month of the log.
_KNOWN = f"""
    SELECT o.actual, p.probability, p.predicted
      FROM (SELECT * FROM {Outcome._meta.db_table} ORDER BY prediction_id DESC LIMIT %s) o
           CROSS JOIN LATERAL (SELECT * FROM {Prediction._meta.db_table} WHERE id = o.prediction_id LIMIT 1) p
     WHERE p.model_version = %s
"""  # noqa: S608 - names of tables and columns are the code's own
