"""Check drift: the newest predictions against the champion's training data."""

import logging

import numpy as np
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

import features.services
from core.errors import Conflict
from features.definition import derive
from ingestion import schema
from monitoring.models import DriftCheck, FeatureDrift
from predictions.models import Prediction
from training.models import ModelVersion, Stage

logger = logging.getLogger(__name__)

WINDOW_SIZE = 500


def queue_check() -> DriftCheck:
    """Return a queued check of the latest window; raises Conflict."""
    if ModelVersion.objects.champion() is None:
        raise Conflict(_("There is no champion yet: train a model first."))
    if DriftCheck.objects.open().exists():
        raise Conflict(_("A drift check is under way already: wait for it."))
    return DriftCheck().queue_new()


def check_drift(check: DriftCheck) -> None:
    """Compare the champion's newest predictions with its training data and store every test's outcome."""
    with check.running():
        # scipy, and alibi-detect behind it, stay out of the web process.
        from monitoring import drift

        champion = ModelVersion.objects.with_history().filter(stage=Stage.CHAMPION).get()
        rows = list(Prediction.objects.filter(model_version=champion.version).newest(WINDOW_SIZE))
        tests: list[drift.FeatureTest] = []
        reference_size = None
        if len(rows) >= drift.SMALLEST_WINDOW:
            batch = champion.feature_batch
            # Without the hold-out: it would be a second population.
            is_holdout = np.array(batch.passengers.values_list("is_holdout", flat=True), dtype=bool)
            reference = features.services.matrix(batch)[~is_holdout]
            reference_size = len(reference)
            window = derive(schema.to_columns([schema.as_row(row) for row in rows]))
            tests = drift.compare(reference, window, backend=settings.DRIFT_BACKEND)
        with transaction.atomic():
            FeatureDrift.objects.bulk_create(
                FeatureDrift(drift_check=check, **vars(test), drifted=test.drifted) for test in tests
            )
            check.claimed().update(
                version=champion,
                window_size=len(rows),
                window_from=rows[-1].created_at if rows else None,
                window_to=rows[0].created_at if rows else None,
                reference_size=reference_size,
                backend=settings.DRIFT_BACKEND,
                false_alarm_rate=drift.FALSE_ALARM_RATE,
                drifted=any(test.drifted for test in tests) if tests else None,
            )
            check.complete()


def scheduled_check() -> DriftCheck | None:
    """Check now; return None where there is nothing to check yet."""
    try:
        check = queue_check()
    except Conflict as reason:
        logger.info("no drift check: %s", reason.message)
        return None
    check_drift(check)
    return check
