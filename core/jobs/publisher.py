"""Send a job's message to its queue."""

import logging
from functools import partial

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError as BrokerUnavailable

from core import redis
from core.jobs.model import Job

logger = logging.getLogger(__name__)

#: Options of the broker's transport, in seconds.
LIMITS = {"socket_timeout": 3, "socket_connect_timeout": 2, "max_retries": 0}


def bound_waits() -> None:
    """Bound what this process waits for the broker to take a message: web processes.

    Not workers: a time-out in the middle of their waiting for messages leaves some without a connection.
    """
    current_app.conf.broker_transport_options |= LIMITS


def enqueue(job: Job) -> None:
    """Publish the job once its row is committed."""
    transaction.on_commit(partial(publish, job))


def publish(job: Job) -> None:
    """Send the job's message; without a broker the row stays queued until stale jobs are recovered."""
    try:
        # Celery would wait for a silent one in each request.
        if redis.breaker.is_answering():
            current_app.send_task(
                job.task_name, kwargs={job.task_argument: job.pk}, task_id=job.task_id, queue=job.queue, retry=False
            )
            return
    except (BrokerUnavailable, *redis.RedisUnavailable):
        pass
    logger.warning("%s not published: it will be with the next recovery of stale jobs", job.task_id)
