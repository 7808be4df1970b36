"""Delete what is older than the settings say: one task applies them all, each day."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone

from core import audit, idempotency
from core.advisory_locks import AdvisoryLock, lock
from core.jobs import OPEN_STATES, Job, JobQuerySet, State, UploadJob, kinds
from core.models import JobLogLine, StoredAnswer
from monitoring import history
from monitoring.models import Alert, Delivery, DriftCheck, PerformanceCheck, Retraining
from predictions import shadow
from predictions.models import DeadLetter, ScoringJob

logger = logging.getLogger(__name__)


def delete_old() -> dict[str, int]:
    """Apply the settings that are not 0, which keeps all; returns how many rows of each kind were deleted."""
    steps: dict[str, tuple[int, Callable[[datetime], int]]] = {
        "dead letters": (settings.DEAD_LETTERS_KEPT_DAYS, _delete_dead_letters),
        "shadow scores": (settings.SHADOW_SCORES_KEPT_DAYS, shadow.delete_before),
        "scoring jobs": (settings.SCORING_KEPT_DAYS, _delete_scoring_jobs),
        "jobs": (settings.JOBS_KEPT_DAYS, _delete_jobs),
        "log lines": (settings.JOBS_KEPT_DAYS, lambda moment: JobLogLine.objects.filter(at__lt=moment).delete()[0]),
        "alerts": (settings.ALERTS_KEPT_DAYS, _delete_alerts),
        "audit entries": (settings.AUDIT_KEPT_DAYS, audit.delete_before),
    }
    deleted = {name: delete(timezone.now() - timedelta(days=days)) for name, (days, delete) in steps.items() if days}
    for name, count in deleted.items():
        if count:
            logger.info("%s %s deleted, which were kept long enough", count, name)
    history.delete_before(timezone.now() - history.KEPT)
    StoredAnswer.objects.filter(created_at__lt=timezone.now() - idempotency.LIFETIME).delete()
    return deleted


def _delete_dead_letters(moment: datetime) -> int:
    return DeadLetter.objects.filter(created_at__lt=moment).delete()[0]


def _delete_alerts(moment: datetime) -> int:
    """Delete alerts that are over, and the deliveries and retrainings that are of none but them."""
    _count, rows = Alert.objects.filter(resolved_at__lt=moment, is_dismissed=False).delete()
    Delivery.objects.filter(alerts=None, due_at__lt=moment).delete()
    Retraining.objects.filter(alert=None, started_at__lt=moment).delete()
    return rows.get(Alert._meta.label, 0)


def _delete_scoring_jobs(moment: datetime) -> int:
    """Delete scoring jobs that are over, with their files and results; their predictions stay in the log."""
    # polars takes a second to import, and the web does without it.
    from predictions import scoring

    deleted = 0
    jobs: JobQuerySet[Job] = JobQuerySet(ScoringJob)
    over = jobs.exclude(state__in=OPEN_STATES).filter(finished_at__lt=moment)
    for pk in list(over.values_list("pk", flat=True)):
        deleted += _delete_job(over, pk, also=partial(scoring.delete_results, pk))
    return deleted


def _delete_jobs(moment: datetime) -> int:
    """Delete other jobs that left nothing behind: those that failed or were cancelled, and checks but the last of each.

    What another row refers to stays, and so do the datasets, features and models of jobs that succeeded.
    """
    deleted = 0
    for model in kinds():
        if model is ScoringJob:
            continue
        over: JobQuerySet[Job] = JobQuerySet(model).filter(finished_at__lt=moment)
        if model in (DriftCheck, PerformanceCheck):
            checks = DriftCheck.objects.routine() if model is DriftCheck else JobQuerySet(model)
            over = over.exclude(pk__in=checks.succeeded().order_by("-pk")[:1].values("pk"))
        else:
            over = over.filter(state__in=(State.FAILED, State.CANCELLED))
        for relation in model._meta.related_objects:
            # A repetition stands by itself.
            if relation.on_delete is not models.CASCADE and relation.related_model is not model:
                over = over.filter(**{f"{relation.name}__isnull": True})
        for pk in list(over.values_list("pk", flat=True)):
            deleted += _delete_job(over, pk)
    return deleted


def _delete_job(over: JobQuerySet[Job], pk: int, *, also: Callable[[], None] | None = None) -> int:
    """Delete one job, unless it was started again meanwhile, and its upload, unless a rerun has it too."""
    with transaction.atomic():
        # Before the row: who starts a job again takes them in this order.
        lock(AdvisoryLock.UPLOADS)
        job = over.filter(pk=pk).select_for_update(skip_locked=True, of=("self",)).first()
        if job is None:
            return 0
        if isinstance(job, UploadJob):
            job.release_upload()
        job.delete()
        if also:
            transaction.on_commit(also)
    return 1
