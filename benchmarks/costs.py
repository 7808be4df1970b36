"""What a prediction, a stored prediction and a million ingested rows cost: what docs/scaling.md reckons with.

python -m benchmarks.costs; processor time is that of all processes that take part, other work on the machine does not
change it.
"""

import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import httpx
import psutil

from benchmarks import product
from benchmarks.__main__ import main
from benchmarks.figure import Figure
from titanic_site.layout import Layout

ROWS, QUICK_ROWS = 200_000, 2_000
SINGLE, QUICK_SINGLE = 4_000, 50
BATCHES, BATCH_ROWS = 100, 1_000
IDLE_SECONDS, QUICK_IDLE_SECONDS = 40, 1


def measure(*, is_quick: bool) -> list[Figure]:
    """Processor time by who spends it, and bytes."""
    from benchmarks.passengers import make, people
    from predictions.models import Prediction

    running = product.running(is_quick=is_quick)
    passengers = itertools.cycle(people())
    rows, single, batches = (QUICK_ROWS, QUICK_SINGLE, 2) if is_quick else (ROWS, SINGLE, BATCHES)
    idle_seconds = QUICK_IDLE_SECONDS if is_quick else IDLE_SECONDS
    batch = {"instances": list(itertools.islice(passengers, BATCH_ROWS))}
    with (
        httpx.Client(
            base_url=f"http://127.0.0.1:{running.port}/api/v1/", headers=running.headers, timeout=600, trust_env=False
        ) as api,
        tempfile.TemporaryDirectory() as folder,
    ):
        file = make(Path(folder) / "people.csv", row_count=rows)

        def predict(*, prefix: str = "") -> None:
            for number in range(single):
                headers = {"Idempotency-Key": f"{prefix}-{number}"} if prefix else {}
                api.post("predictions/", json=next(passengers), headers=headers).raise_for_status()

        def predict_batches() -> None:
            for _ in range(batches):
                api.post("predictions/batch/", json=batch).raise_for_status()

        def upload(path: str) -> None:
            with file.open("rb") as opened:
                job = api.post(path, files={"file": opened}).raise_for_status().json()
            while (job := api.get(f"{path}{job['id']}/").json())["state"] in ("queued", "running"):
                time.sleep(0.2)
            assert job["state"] == "succeeded", job["error"]

        # The first of each connects, imports and compiles.
        predict()
        predict_batches()
        idle = _idle(running, seconds=idle_seconds)
        log, table = _table_bytes("predictions_prediction"), _table_bytes("ingestion_passenger")
        stored = Prediction.objects.count()
        figures = [
            Figure(f"{name}: {who}", seconds / count, unit)
            for name, do, count, unit in (
                ("prediction", predict, single / 1e3, "ms"),
                ("prediction of a batch", predict_batches, batches * BATCH_ROWS / 1e3, "ms"),
                ("prediction of a file", lambda: upload("scoring-jobs/"), rows / 1e3, "ms"),
                ("million rows ingested", lambda: upload("datasets/"), rows / 1e6, "s"),
            )
            for who, seconds in _cost(running, do, idle=idle).items()
        ]
        log_bytes = (_table_bytes("predictions_prediction") - log) / (Prediction.objects.count() - stored)
        table_bytes = (_table_bytes("ingestion_passenger") - table) / rows
        figures += [
            Figure("prediction in PostgreSQL", log_bytes, "bytes"),
            Figure("million rows ingested, in PostgreSQL", table_bytes, "MB"),
            *_in_redis(running, predict, count=single),
        ]
    return figures


def _in_redis(running: product.Product, predict: Callable[..., None], *, count: int) -> list[Figure]:
    """Measure what a prediction takes in Redis until it is written to PostgreSQL, and for a day with its key."""
    product.wait_for_drain()
    top = psutil.Process(running.process.pid)
    (worker,) = (child for child in top.children() if "fast@%h" in child.cmdline())
    writers = [worker, *worker.children()]
    for writer in writers:
        writer.suspend()
    before = _redis_bytes()
    predict()
    waiting = _redis_bytes() - before
    for writer in writers:
        writer.resume()
    product.wait_for_drain()
    before = _redis_bytes()
    predict(prefix="cost")
    product.wait_for_drain()
    return [
        Figure("prediction in Redis until it is stored", waiting / count, "bytes"),
        Figure("key of a prediction in Redis, for a day", (_redis_bytes() - before) / count, "bytes"),
    ]


def _idle(running: product.Product, *, seconds: float) -> dict[str, float]:
    """Measure what the product does anyway: processor time a second, by who spends it."""
    product.wait_for_drain()
    began, before = time.monotonic(), _seconds(running)
    time.sleep(seconds)
    took = time.monotonic() - began
    return {who: (used - before[who]) / took for who, used in _seconds(running).items()}


def _cost(running: product.Product, do: Callable[[], None], *, idle: dict[str, float]) -> dict[str, float]:
    """Measure how much processor time (seconds) each part spends until all is written."""
    product.wait_for_drain()
    began, before = time.monotonic(), _seconds(running)
    do()
    product.wait_for_drain()
    took = time.monotonic() - began
    return {who: max(used - before[who] - took * idle[who], 0.0) for who, used in _seconds(running).items()}


def _seconds(running: product.Product) -> dict[str, float]:
    """Sum up the processor time of each part of the product, of children that ended too."""
    home = Layout(Path(os.environ["TITANIC_HOME"]))
    top = psutil.Process(running.process.pid)
    programs = {"web": "granian", "workers": "worker"}
    parts: dict[str, Iterable[psutil.Process]] = {
        who: [child for child in top.children() if word in child.cmdline()] for who, word in programs.items()
    }
    parts["PostgreSQL"] = [psutil.Process(int((home.root / "postgres/data/postmaster.pid").read_text().split()[0]))]
    data = str(home.root / "valkey/data")
    parts["Valkey"] = [found for found in psutil.process_iter(["cwd"]) if found.info["cwd"] == data]
    return {who: sum(map(_of_tree, processes)) for who, processes in parts.items()}


def _of_tree(top: psutil.Process) -> float:
    used = 0.0
    for process in (top, *top.children(recursive=True)):
        times = process.cpu_times()
        used += times.user + times.system + times.children_user + times.children_system
    return used


def _table_bytes(table: str) -> int:
    """Measure a table with its partitions, indexes and values that are stored apart."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree(%s)", [table])
        return int(cursor.fetchone()[0] or 0)


def _redis_bytes() -> int:
    from core import redis

    return int(redis.client().info("memory")["used_memory"])


if __name__ == "__main__":
    main("costs")
