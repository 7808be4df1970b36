"""Send a job's message to its queue."""

import logging
from functools import partial

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError as BrokerUnavailable

from core.jobs.model import Job
from core.redis import RedisUnavailable

logger = logging.getLogger(__name__)


def enqueue(job: Job) -> None:
    """Publish the job once its row is committed."""
    transaction.on_commit(partial(publish, job))


def publish(job: Job) -> None:
    """Send the job's message; without a broker the row stays queued until stale jobs are recovered."""
    try:
        current_app.send_task(
            job.task_name, kwargs={job.task_argument: job.pk}, task_id=job.task_id, queue=job.queue, retry=False
        )
    except (BrokerUnavailable, *RedisUnavailable):
        logger.warning("%s not published: it will be with the next recovery of stale jobs", job.task_id)
