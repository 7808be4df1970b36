"""What workers count of their tasks, in how many files, and where a host without web processes shows it."""

import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from celery.app.task import Context
from celery.signals import task_failure
from django.conf import settings as django_settings

from benchmarks.product import free_port
from core import heartbeat, redis
from core.errors import TitanicError
from core.jobs import NotClaimed
from monitoring import worker_metrics
from monitoring.process_metrics import ProcessMetrics
from titanic_site import tasks


def counted(**labels: str) -> dict[str, float]:
    """The series of the task heartbeat that have these labels."""
    return {
        sample.name: sample.value
        for metric in ProcessMetrics(django_settings.METRICS_DIR).collect()
        for sample in metric.samples
        if sample.labels.items() >= ({"task": tasks.heartbeat.name} | labels).items() and "le" not in sample.labels
    }


def grown(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """What has become more."""
    return {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (None, "success"),
        (TitanicError("No."), "failure"),
        (ValueError(), "failure"),
        (NotClaimed("It runs."), "skipped"),
    ],
)
def test_a_run_is_counted_by_its_end_and_timed(
    error: Exception | None, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(_queue: str) -> None:
        if error:
            raise error

    monkeypatch.setattr(heartbeat, "beat", end)
    before, of_state = counted(), counted(state=state)

    tasks.heartbeat.apply(kwargs={"queue": "fast"})

    assert grown(of_state, counted(state=state)) == {"titanic_tasks_total": 1}
    assert grown(before, counted())["titanic_task_seconds_count"] == 1


def test_a_run_whose_process_was_killed_is_counted_by_the_main_process() -> None:
    before = counted(state="lost")

    task_failure.send(sender=tasks.heartbeat, task_id="never begun here", exception=RuntimeError())

    assert grown(before, counted(state="lost")) == {"titanic_tasks_total": 1}


def test_a_run_that_a_lost_worker_had_begun_is_counted_as_such() -> None:
    before = counted()

    tasks.heartbeat.request_stack.push(Context(delivery_info={"redelivered": True}))
    worker_metrics.count(task_id="1", task=tasks.heartbeat, retval=None, state="SUCCESS")
    tasks.heartbeat.request_stack.pop()

    assert grown(before, counted())["titanic_task_redeliveries_total"] == 1


@pytest.fixture
def port(settings: Any) -> Iterator[int]:
    """The port where this process shows its metrics, as if it were a worker."""
    settings.METRICS_PORT, settings.HOST = free_port(), "127.0.0.1"
    yield settings.METRICS_PORT
    for server in worker_metrics._servers:
        server.shutdown()
        server.server_close()
    worker_metrics._servers.clear()


def test_a_worker_shows_tasks_and_queues(port: int) -> None:
    tasks.heartbeat.apply(kwargs={"queue": "fast"})
    redis.client().rpush("scoring", "waits")

    worker_metrics.serve()
    # It is ready again after a reconnection.
    worker_metrics.serve()
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text

    redis.client().delete("scoring")
    assert 'titanic_tasks_total{state="success",task="titanic_site.tasks.heartbeat"}' in text
    assert 'titanic_queue_depth{queue="scoring"} 1.0' in text
    assert 'titanic_canary_age_seconds{queue="fast"}' in text
    assert 'titanic_up{service="redis"} 1.0' in text


def test_of_several_workers_of_a_host_one_shows_the_metrics(port: int, caplog: pytest.LogCaptureFixture) -> None:
    worker_metrics.serve()
    (first,) = worker_metrics._servers
    worker_metrics._servers.clear()

    with caplog.at_level(logging.INFO, logger="monitoring"):
        worker_metrics.serve()

    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert not worker_metrics._servers
    worker_metrics._servers.append(first)


def test_a_port_that_another_program_has_is_an_error(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", port)) as other:
        other.settimeout(5)

        def hang_up() -> None:
            other.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with caplog.at_level(logging.INFO, logger="monitoring"):
            worker_metrics.serve()
        thread.join()

    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert not worker_metrics._servers


_COUNT = """
import sys
from pathlib import Path
from titanic_site.metrics_files import FileNumbers
number = FileNumbers(Path(sys.argv[1]))
print(number(), flush=True)
sys.stdin.readline()
"""


def test_a_process_takes_the_files_of_one_that_ended(tmp_path: Path) -> None:
    def start() -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", _COUNT, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(django_settings.BASE_DIR)},
        )  # fmt: skip
        assert process.stdout
        return process, process.stdout.readline().strip()

    (first, of_first), (second, of_second) = start(), start()
    first.kill()
    first.communicate()
    third, of_third = start()
    for process in (second, third):
        process.communicate("")

    assert (of_first, of_second, of_third) == ("0", "1", "0")
