"""A scoring job from beginning to end, by one worker and those that help it."""

import logging
import time

from celery import current_app
from django.db import transaction
from django.db.models import F, Sum
from django.utils.translation import gettext as _
from kombu.exceptions import OperationalError as BrokerUnavailable

from core.errors import TitanicError
from core.jobs import State
from core.redis import RedisUnavailable
from predictions.models import ScoringJob
from predictions.scoring import cutting, parts, result_files

logger = logging.getLogger(__name__)

#: How many workers are asked to take parts, beside the one that has the job.
MAX_HELPERS = 7
#: Seconds that a helper takes parts before it lets its queue's other messages through.
HELP_SECONDS = 15.0
_POLL_SECONDS = 0.2


def score(job: ScoringJob) -> None:
    """Score the job's file, with all workers that are free; what an earlier start has done stays done."""
    with job.running():
        if job.split_at is None:
            cutting.cut(job)
        for _number in range(min(MAX_HELPERS, job.parts.filter(is_done=False).count() - 1)):
            _send_helper(job)
        with job.upload.open("rb") as file:
            while not _is_done(job):
                if not parts.score_next(job, file):
                    # Other workers have the rest; a part of one that dies is free again.
                    time.sleep(_POLL_SECONDS)
        total = job.parts.aggregate(rows=Sum("row_count"), problems=Sum("problem_count"))
        if not total["rows"]:
            raise TitanicError(_("The table has a header and no rows."))
        with transaction.atomic():
            job.row_count, job.problem_count = total["rows"], total["problems"]
            job.save(update_fields=["row_count", "problem_count"])
            job.complete()
        result_files.delete_leftovers(job)


def score_parts(job_id: int) -> None:
    """Take parts of the job for a while; raises what a part fails by, which the job's own worker will meet too."""
    job = ScoringJob.objects.filter(pk=job_id, state=State.RUNNING, split_at__isnull=False).first()
    if job is None or not job.parts.filter(is_done=False).exists():
        return
    # From a bucket the whole file is fetched when it is opened: the time counts from then on.
    with job.upload.open("rb") as file:
        end = time.monotonic() + HELP_SECONDS
        while time.monotonic() < end:
            if not parts.score_next(job, file):
                return
            if not ScoringJob.objects.filter(pk=job.pk, state=State.RUNNING).exists():
                return
    _send_helper(job)


def _send_helper(job: ScoringJob) -> None:
    try:
        current_app.send_task(
            "predictions.tasks.score_parts", kwargs={"job_id": job.pk}, queue=job.queue, retry=False, expires=60
        )
    except (BrokerUnavailable, *RedisUnavailable):
        logger.warning("%s runs without further workers: the broker is unavailable", job.task_id)


def _is_done(job: ScoringJob) -> bool:
    """Report how far the job is, and tell whether every part is done; raises Cancelled."""
    size = Sum(F("end") - F("start"))
    done = job.parts.filter(is_done=True).aggregate(rows=Sum("row_count"), size=size)
    total = job.parts.aggregate(size=size)["size"]
    job.report((done["size"] or 0) / total, count=done["rows"] or 0)
    return bool(done["size"] == total)
