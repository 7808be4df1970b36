"""What Celery workers count of their tasks, and the port where a host without web processes shows it."""

import errno
import logging
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from wsgiref.simple_server import WSGIServer

from celery import Task
from celery.signals import task_failure, task_postrun, task_prerun, worker_process_init, worker_ready
from django.conf import settings
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import Metric

from core import heartbeat, redis
from core.jobs import Cancelled, NotClaimed
from core.redis import RedisUnavailable
from monitoring.counters import TASK_REDELIVERIES, TASK_SECONDS, TASKS
from monitoring.figures import gauge
from monitoring.process_metrics import ProcessMetrics

logger = logging.getLogger(__name__)

#: The moment (monotonic) at which each task that this process runs began.
_began: dict[str, float] = {}
_servers: list[WSGIServer] = []


@task_prerun.connect
def begin(*, task_id: str, **_: object) -> None:
    """Note when a run begins."""
    _began[task_id] = time.monotonic()


@task_postrun.connect
def count(*, task_id: str, task: "Task[..., object]", retval: object, state: str | None, **_: object) -> None:
    """Count a run that ended, however it did, and how long it took."""
    # One that another worker has, or that a person cancelled, has not failed.
    is_left = isinstance(retval, (NotClaimed, Cancelled))
    # A stop of the worker leaves a run without a state.
    TASKS.labels(task.name, "skipped" if is_left else (state or "interrupted").lower()).inc()
    if (task.request.delivery_info or {}).get("redelivered"):
        TASK_REDELIVERIES.labels(task.name).inc()
    began = _began.pop(task_id, None)
    if began is not None:
        TASK_SECONDS.labels(task.name).observe(time.monotonic() - began)


@task_failure.connect
def count_lost(*, sender: "Task[..., object]", task_id: str, **_: object) -> None:
    """Count a run whose process was killed, by its time limit or otherwise: the worker's main process sees it."""
    if task_id not in _began:
        TASKS.labels(sender.name, "lost").inc()


@worker_ready.connect
def serve(**_: object) -> None:
    """Show this host's metrics on METRICS_PORT, from the main process of the first of its workers."""
    # A worker is ready again after each reconnection.
    if not settings.METRICS_PORT or _servers:
        return
    registry = CollectorRegistry()
    registry.register(ProcessMetrics(settings.METRICS_DIR))
    registry.register(_Queues())
    try:
        server, _thread = start_http_server(settings.METRICS_PORT, settings.HOST, registry)
    except OSError as error:
        # They have the home in common, and one shows the counters of all.
        level = logging.INFO if error.errno == errno.EADDRINUSE and _are_shown() else logging.ERROR
        logger.log(level, "Metrics are not shown by this worker at METRICS_PORT: %s", error.strerror)
    else:
        _servers.append(server)


def _are_shown() -> bool:
    """Tell whether another worker shows this host's metrics, and not another program something else."""
    connection = HTTPConnection(settings.HOST, settings.METRICS_PORT, timeout=5)
    with closing(connection), suppress(OSError, HTTPException):
        connection.request("GET", "/metrics")
        return b"titanic_queue_depth" in connection.getresponse().read()
    return False


@worker_process_init.connect
def close_inherited(**_: object) -> None:
    """Let go of the port: the main process alone answers there."""
    for server in _servers:
        server.socket.close()


class _Queues:
    """The queues as this host sees them; a Redis that is unavailable is a 0, not an error."""

    def collect(self) -> Iterator[Metric]:
        is_up = 0.0
        with suppress(*RedisUnavailable):
            yield from queues()
            is_up = 1.0
        yield gauge("up", "Whether a service is available", {"redis": is_up}, "service")


def queues() -> Iterator[Metric]:
    """Read how many messages wait in each queue, and when each had a heartbeat."""
    with redis.client().pipeline(transaction=False) as pipeline:
        for queue in settings.QUEUES:
            pipeline.llen(queue)
        depths = dict(zip(settings.QUEUES, pipeline.execute(), strict=True))
    yield gauge("queue_depth", "Messages that wait for a worker", depths, "queue")
    ages = {queue: age for queue, age in heartbeat.ages().items() if age is not None}
    yield gauge("canary_age_seconds", "Since the last heartbeat of the queue", ages, "queue")
