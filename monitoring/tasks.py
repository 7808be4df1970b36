"""Celery tasks of monitoring."""

from celery import current_app

from core import heartbeat
from core.jobs import enqueue
from core.tasks import job_task
from monitoring import alerts, consistency, deliveries, drift_watch, figures, history, performance, services
from monitoring.models import Delivery, DriftCheck, DriftWatch, PerformanceCheck

# Seconds until the next evaluation sends the message again.
_NEXT_EVALUATION = 10


@job_task(queue="default")
def check_drift(*, check_id: int) -> None:
    """Run one drift check."""
    services.check_drift(DriftCheck.objects.get(pk=check_id))


@job_task(queue="default")
def scheduled_check() -> None:
    """Check drift where there is something to check."""
    services.scheduled_check()


@job_task(queue="default")
def scheduled_multivariate_check() -> None:
    """Check drift of all features together where there is something to check."""
    services.scheduled_multivariate_check()


@job_task(queue="default")
def report_on_files() -> None:
    """Compare scored files with the training rows."""
    for check in services.queue_file_reports():
        enqueue(check)


@job_task(queue="fast")
def watch_drift() -> None:
    """Look at the newest live predictions; a change of state raises or resolves its alert at once."""
    if drift_watch.look():
        evaluate_alerts()
    watch_id = drift_watch.claim_calibration()
    if watch_id is not None:
        calibrate_watch.delay(watch_id=watch_id)


@job_task(queue="training")
def calibrate_watch(*, watch_id: int) -> None:
    """Calibrate a drift watch: it computes for minutes where features are many, and holds up no other task."""
    with heartbeat.kept_up(current_app.amqp.queues.consume_from):
        drift_watch.calibrate(DriftWatch.objects.select_related("version__run").get(pk=watch_id))


@job_task(queue="default")
def check_performance(*, check_id: int) -> None:
    """Run one performance check."""
    performance.check(PerformanceCheck.objects.get(pk=check_id))


@job_task(queue="default")
def scheduled_performance_check() -> None:
    """Check performance where there is a champion."""
    performance.scheduled_check()


@job_task(queue="default")
def check_consistency() -> None:
    """Compare the answers of all channels."""
    consistency.run()


@job_task(queue="fast")
def evaluate_alerts() -> None:
    """Raise and resolve alerts."""
    alerts.evaluate_alerts()
    if Delivery.objects.due().exists():
        # Not here: a webhook that hangs would hold up the prediction log.
        notify.apply_async(queue="default", expires=_NEXT_EVALUATION)


@job_task(queue="default")
def notify() -> None:
    """Notify people of alerts, by mail and webhook."""
    deliveries.deliver()


@job_task(queue="fast")
def measure_figures() -> None:
    """Measure what the next scrapes of /metrics and the overview show."""
    figures.measure()
    history.record()
