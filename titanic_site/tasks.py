"""Celery tasks that span the apps."""

from django.contrib.sessions.backends.db import SessionStore

from core import heartbeat as queue_heartbeat
from core import jobs
from core.tasks import job_task
from ingestion.models import Source
from monitoring import retraining
from monitoring.models import Retraining
from titanic_site import pipeline, retention


@job_task(queue="training", is_short=False)
def fetch(*, source_id: int) -> None:
    """Load what is new at a source and train on it."""
    pipeline.fetch(Source.objects.get(pk=source_id))


@job_task(queue="training", is_short=False)
def retrain() -> None:
    """Load what is new and train on it, by schedule."""
    pipeline.retrain(Retraining.objects.create())


@job_task(queue="training", is_short=False)
def retrain_by_rule() -> None:
    """Load what is new and train on it, where the rule of an open alert says so."""
    due = retraining.claim()
    if due is not None:
        pipeline.retrain(due)


@job_task(queue="default")
def expire_features() -> None:
    """Expire old feature batches in Redis."""
    pipeline.expire_features()


@job_task(queue="default")
def delete_expired_sessions() -> None:
    """Delete the sessions that have expired."""
    SessionStore.clear_expired()


@job_task(queue="default")
def delete_old() -> None:
    """Delete what is older than the settings say."""
    retention.delete_old()


@job_task(queue="fast")
def recover_stale_jobs() -> None:
    """Fail or resume jobs whose worker died, and publish again those that no worker took."""
    jobs.recover_stale()


@job_task(queue="fast")
def heartbeat(*, queue: str) -> None:
    """Record that a worker of the queue is alive; each queue's schedule sends it there."""
    queue_heartbeat.beat(queue)
