"""Check drift: live predictions, or a file's, against the training rows of the model that answered them."""

import logging
import math
from datetime import datetime, timedelta

import msgspec
import numpy as np
from django.conf import settings
from django.db import transaction
from django.db.models import F, Func, IntegerField, Value
from django.utils import timezone
from django.utils.translation import gettext_noop

import training.services
from core.advisory_locks import AdvisoryLock, lock
from core.errors import Conflict, Invalid
from core.messages import Message as _
from features.definition import VERSION
from monitoring.models import DriftCheck, FeatureDrift, Method
from predictions import scorer
from predictions.models import Prediction, PredictionQuerySet, ScoringJob
from training.models import ModelVersion

logger = logging.getLogger(__name__)

#: The newest predictions that a check compares.
WINDOW_SIZE = 500
#: Of a span of time or a file with more predictions than this, an even sample is compared.
LARGEST_WINDOW = 10_000
#: A file that was scored longer ago gets no report by itself.
FILE_REPORT_WITHIN = timedelta(days=1)


def queue_check(
    *,
    model_version: int | None = None,
    channel: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    method: str = Method.UNIVARIATE,
) -> DriftCheck:
    """Return a queued check: of the champion's newest live predictions, unless told otherwise.

    Raises Invalid for a model that does not exist and for a span that is none, Conflict.
    """
    version = ModelVersion.objects.champion()
    if model_version is not None:
        version = ModelVersion.objects.filter(version=model_version).first()
        if version is None:
            raise Invalid({"model_version": [("does_not_exist", str(_("There is no such model.")))]})
    if version is None:
        raise Conflict(_("There is no champion yet: train a model first."))
    if since is not None and until is not None and since >= until:
        raise Invalid({"until": [("invalid", str(_("Must be later than the start.")))]})
    if version.definition_version != VERSION:
        raise Conflict(_("%(version)s has other features than are derived now.") % {"version": version})
    if DriftCheck.objects.live().open().filter(method=method).exists():
        raise Conflict(_("A drift check is under way already: wait for it."))
    return DriftCheck(version=version, channel=channel, since=since, until=until, method=method).queue_new()


def queue_file_reports() -> list[DriftCheck]:
    """Queue a check of each file that was scored and has none yet."""
    with transaction.atomic():
        # Of two at once the second sees the first one's.
        lock(AdvisoryLock.FILE_REPORTS)
        scored_since = timezone.now() - FILE_REPORT_WITHIN
        jobs = ScoringJob.objects.succeeded().filter(drift_checks=None, finished_at__gte=scored_since)
        versions = ModelVersion.objects.in_bulk(jobs.values_list("model_version", flat=True), field_name="version")
        return [
            DriftCheck(version=versions[job.model_version], scoring_job=job).queue_new()
            for job in jobs
            if job.model_version in versions
        ]


def check_drift(check: DriftCheck) -> None:
    """Compare the check's window with the training rows, and store every test's outcome."""
    with check.running():
        # scipy, scikit-learn, and alibi-detect behind them, stay out of the web process.
        from monitoring import classifier, drift

        assert check.version is not None
        is_multivariate = check.method == Method.MULTIVARIATE
        check.begin_stage(gettext_noop("Load both samples"))
        reference = training.services.reference_of(check.version)
        rows, sampled_from = _window(check)
        check.begin_stage(gettext_noop("Compare"))
        tests: list[FeatureDrift] = []
        quality: list[drift.Quality] = []
        if rows:
            matrix = scorer.matrix_of(rows)
            quality = drift.assess_quality(reference.matrix, matrix)
        if len(rows) >= drift.SMALLEST_WINDOW and is_multivariate:
            comparison = classifier.compare(reference.matrix, matrix, seed=check.pk)
            tests = [FeatureDrift(drift_check=check, **vars(test)) for test in comparison]
        elif len(rows) >= drift.SMALLEST_WINDOW:
            outputs = None
            if reference.probabilities is not None:
                outputs = reference.probabilities, np.array([row.probability for row in rows])
            tests = [
                FeatureDrift(
                    drift_check=check,
                    **{**vars(test), "distribution": msgspec.to_builtins(test.distribution)},
                    drifted=test.drifted,
                )
                for test in drift.compare(reference.matrix, matrix, outputs=outputs, backend=settings.DRIFT_BACKEND)
            ]
        with transaction.atomic():
            FeatureDrift.objects.bulk_create(tests)
            check.claimed().update(
                window_size=len(rows),
                sampled_from=sampled_from,
                window_from=rows[-1].created_at if rows else None,
                window_to=rows[0].created_at if rows else None,
                reference_size=len(reference.matrix),
                backend="sklearn" if is_multivariate else settings.DRIFT_BACKEND,
                false_alarm_rate=classifier.FALSE_ALARM_RATE if is_multivariate else drift.FALSE_ALARM_RATE,
                drifted=any(test.drifted for test in tests) if tests else None,
                quality=msgspec.to_builtins(quality),
            )
            check.complete()


def scheduled_check() -> DriftCheck | None:
    """Check now, each feature by itself; return None where there is nothing to check yet."""
    return _check_if_possible()


def scheduled_multivariate_check() -> DriftCheck | None:
    """Check the last day's predictions, all features together; return None where there is nothing to check yet."""
    return _check_if_possible(method=Method.MULTIVARIATE, since=timezone.now() - timedelta(days=1))


def _check_if_possible(*, method: str = Method.UNIVARIATE, since: datetime | None = None) -> DriftCheck | None:
    try:
        check = queue_check(method=method, since=since)
    except Conflict as reason:
        logger.info("no drift check: %s", reason.message)
        return None
    check_drift(check)
    return check


def window_predictions(check: DriftCheck) -> PredictionQuerySet:
    """Select the predictions among which a check's window lies."""
    if check.scoring_job_id is not None:
        return Prediction.objects.filter(scoring_job_id=check.scoring_job_id)
    assert check.version is not None
    chosen = Prediction.objects.live().filter(model_version=check.version.version)
    chosen = chosen.filter(source=check.channel) if check.channel else chosen
    chosen = chosen if check.since is None else chosen.since(check.since)
    return chosen if check.until is None else chosen.until(check.until)


def _window(check: DriftCheck) -> tuple[list[Prediction], int | None]:
    """Read the window's rows, newest first, and of how many predictions they are a sample."""
    chosen = window_predictions(check)
    if check.scoring_job_id is None and check.since is None and check.until is None:
        return list(chosen.newest(WINDOW_SIZE)), None
    count = chosen.count()
    if count <= LARGEST_WINDOW:
        return list(chosen.newest(LARGEST_WINDOW)), None
    # The last byte of an id: random in traffic, the line's in a file.
    every = min(math.ceil(count / LARGEST_WINDOW), 256)
    last_byte = Func(Func(F("id"), function="uuid_send"), Value(15), function="get_byte", output_field=IntegerField())
    sample = chosen.annotate(place=last_byte % every).filter(place=0)
    return list(sample.newest(LARGEST_WINDOW)), count
