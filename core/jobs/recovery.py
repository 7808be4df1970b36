"""Jobs whose worker died, or whose message was lost."""

import time
from datetime import timedelta

from django.apps import apps
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from core.jobs.lease import RENEWAL_SECONDS
from core.jobs.model import Job, JobQuerySet, State
from core.jobs.publisher import publish
from core.messages import Message

#: A queued job is published again when no worker took it for this long; a second message is harmless.
RESEND_AFTER = timedelta(seconds=60)
#: How often a resumable job is started at most.
MAX_STARTS = 5


def kinds() -> list[type[Job]]:
    """Return every model of a job."""
    return [model for model in apps.get_models() if issubclass(model, Job)]


def recover_stale(*, pause: float = 3 * RENEWAL_SECONDS) -> tuple[int, int]:
    """Fail or resume jobs whose worker died, and publish lost messages again; returns how many were failed and sent."""
    failed = sent = 0
    if any(JobQuerySet(model).abandoned().exists() for model in kinds()):
        # All leases seem to have expired when the clock was set forward, until their workers renew them.
        time.sleep(pause)
    for model in kinds():
        jobs: JobQuerySet[Job] = JobQuerySet(model)
        if model.is_resumable:
            # An old `sent_at` has it published again below.
            jobs.abandoned().filter(models.Q(starts__lt=MAX_STARTS)).update(
                state=State.QUEUED, sent_at=timezone.now() - 2 * RESEND_AFTER, lease_expires_at=None
            )
        failed += jobs.abandoned().update(
            state=State.FAILED,
            error=Message("The worker stopped in the middle of this run. Start it again."),
            finished_at=Now(),
            lease_expires_at=None,
        )
        for job in jobs.unsent_since(timezone.now() - RESEND_AFTER):
            publish(job)
            sent += jobs.filter(pk=job.pk).update(sent_at=Now())
    return failed, sent
