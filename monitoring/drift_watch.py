"""Run the drift watch of the champion: look at its newest live predictions, and calibrate what is not yet."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

import training.services
from core.errors import TitanicError
from monitoring import watch
from monitoring.counters import DRIFTS
from monitoring.models import DriftWatch
from monitoring.watch import WINDOWS, Bins, Exceedance, Watch
from predictions import drift_state, scorer
from predictions.drift_state import DriftState
from predictions.models import Prediction, lowest_id
from training.models import ModelVersion, Stage, StageChange

logger = logging.getLogger(__name__)

#: With fewer new predictions than a look needs, one follows all the same after this time.
LONGEST_WAIT = timedelta(minutes=1)
#: When a calibration that has not ended is sent again.
CALIBRATION_RETRY = timedelta(minutes=10)


def look() -> bool:
    """Look at the champion's newest live predictions, and publish the state; returns whether it changed.

    Several processes may look at once: one of them does, the others find nothing to do.
    """
    champion = ModelVersion.objects.champion()
    if champion is None:
        drift_state.publish(DriftState())
        return False
    DriftWatch.objects.get_or_create(version=champion)
    with transaction.atomic():
        row = DriftWatch.objects.select_for_update(skip_locked=True).filter(version=champion).first()
        if row is None:
            return False
        before = row.state
        has_begun = _begin_term(row)
        known = set(row.exceeding)
        has_looked = row.calibration is not None and _read_on(row, msgspec.convert(row.calibration, Watch))
        if has_begun or has_looked:
            row.save()
        since, features = row.since, tuple(sorted(row.exceeding))
        drift_state.publish(DriftState(row.state, since, features, champion.version))
    # Only what is stored is counted.
    for feature in set(features) - known:
        DRIFTS.labels(feature).inc()
    return bool(row.state != before)


def claim_calibration() -> int | None:
    """Return the id of a champion's watch that is to be calibrated now, once in a while; None where there is none."""
    now = timezone.now()
    waiting = DriftWatch.objects.filter(
        Q(calibration_sent_at=None) | Q(calibration_sent_at__lt=now - CALIBRATION_RETRY),
        version__stage=Stage.CHAMPION,
        calibration__isnull=True,
    )
    row = waiting.first()
    if row is None or not waiting.filter(pk=row.pk).update(calibration_sent_at=now):
        return None
    return row.pk


def calibrate(row: DriftWatch) -> None:
    """Calibrate a watch from its model's training rows, or record why it cannot be."""
    try:
        reference = training.services.reference_of(row.version)
    except TitanicError as error:
        logger.warning("%s cannot be calibrated: %s", row, error)
        DriftWatch.objects.filter(pk=row.pk).update(error=error.message)
        return
    calibrated = watch.calibrate(reference.matrix, reference.groups, seed=row.version.run.seed)
    # By query: a look saves other columns of the row.
    DriftWatch.objects.filter(pk=row.pk).update(calibration=msgspec.to_builtins(calibrated), error="")


def _begin_term(row: DriftWatch) -> bool:
    """Forget what an earlier term as champion left; returns whether a new one begins."""
    promoted_at = StageChange.objects.filter(version=row.version, after=Stage.CHAMPION).latest("at", "pk").at
    if row.promoted_at == promoted_at:
        return False
    row.promoted_at = promoted_at
    row.state, row.since, row.exceeding = DriftWatch.State.UNKNOWN, None, {}
    row.bins, row.prediction_count, row.quiet_count = b"", 0, 0
    row.last_prediction_id = lowest_id(promoted_at)
    return True


def _read_on(row: DriftWatch, calibrated: Watch) -> bool:
    """Look at the predictions since the last look, if there are enough for another one; returns whether it did."""
    new = Prediction.objects.live().filter(model_version=row.version.version, id__gt=row.last_prediction_id)
    # Only what fits in the longest window counts.
    predictions = list(new.newest(WINDOWS[-1]))
    now = timezone.now()
    is_due = row.looked_at is None or now - row.looked_at >= LONGEST_WAIT
    if len(predictions) < (1 if is_due else watch.STEP):
        return False
    matrix = scorer.matrix_of(reversed(predictions))
    columns = len(calibrated.columns)
    bins: Bins = np.concatenate(
        [np.frombuffer(bytes(row.bins), np.uint8).reshape(-1, columns), calibrated.bins(matrix)]
    )[-WINDOWS[-1] :]
    row.bins, row.last_prediction_id, row.looked_at = bins.tobytes(), predictions[0].pk, now
    row.prediction_count += len(predictions)
    _conclude(row, calibrated.look(bins), new_count=len(predictions), at=now)
    if row.state == DriftWatch.State.UNKNOWN and len(bins) >= WINDOWS[0]:
        row.state, row.since = DriftWatch.State.CALM, now
    return True


def _conclude(row: DriftWatch, exceeding: Sequence[Exceedance], *, new_count: int, at: datetime) -> None:
    """Begin an alarm, go on with it, or end it when the longest window has passed without a sign."""
    if not exceeding:
        row.quiet_count += new_count
        if row.state == DriftWatch.State.DRIFT and row.quiet_count >= WINDOWS[-1]:
            logger.info("drift of %s is over", row.version)
            row.state, row.since, row.exceeding = DriftWatch.State.CALM, at, {}
        return
    row.quiet_count = 0
    if row.state != DriftWatch.State.DRIFT:
        row.state, row.since = DriftWatch.State.DRIFT, at
    for test in exceeding:
        strongest = row.exceeding.get(test.feature)
        if strongest is None:
            logger.warning("%s: %s has drifted", row.version, test.feature)
        if strongest is None or test.statistic / test.threshold > strongest["statistic"] / strongest["threshold"]:
            row.exceeding[test.feature] = msgspec.to_builtins(test)
