"""A file scored by the running product's workers, beside pandas and ONNX in one process on it; and a scrape after that.

python -m benchmarks.scoring
"""

import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path

import httpx

from benchmarks import product
from benchmarks.__main__ import main
from benchmarks.figure import Figure

ROWS, QUICK_ROWS = 1_000_000, 2_000
TIMES_AS_MANY = 4
SCRAPES = 50


def measure(*, is_quick: bool) -> list[Figure]:
    """Seconds from the job's start to its end, and the largest worker's memory."""
    from benchmarks.passengers import make

    row_count = QUICK_ROWS if is_quick else ROWS
    with tempfile.TemporaryDirectory(prefix="titanic-bench-") as folder:
        small = make(Path(folder) / "small.csv", row_count=row_count)
        large = make(Path(folder) / "large.csv", row_count=TIMES_AS_MANY * row_count)
        running = product.running(is_quick=is_quick)
        product.wait_for_drain()
        plain = Figure("pandas and ONNX in one process", _plain_seconds(small), "s")
        # Beside a job that takes a minute, one before it alone would show the machine's moods.
        (before, first), (longer, second), (after, third) = (_score(running, path) for path in (small, large, small))
    job = Figure(f"scoring job of {row_count:,} rows", (before + after) / 2, "s", reference=plain, at_most=2.5)
    return [
        job,
        Figure(f"scoring job of {TIMES_AS_MANY * row_count:,} rows", longer, "s", reference=job, at_most=4.4),
        Figure("scoring jobs, largest worker without alibi-detect", max(first, second, third), "MB", at_most=400),
        Figure(
            f"scrape with {(2 + TIMES_AS_MANY) * row_count:,} rows in the log, processor time",
            _scrape_milliseconds(),
            "ms",
            at_most=5,
        ),
    ]


def _plain_seconds(path: Path) -> float:
    """pandas reads, ONNX scores the ready matrix, pandas writes: the seconds, without those for the features."""
    import pandas as pd

    from benchmarks.passengers import columns
    from features.definition import derive
    from predictions import scorer

    champion = scorer.champion()
    matrices = [derive(chunk) for chunk in columns(path)]
    start = time.perf_counter()
    table = pd.read_csv(path)
    table["probability"] = [probability for matrix in matrices for probability in champion.artifact.score(matrix)]
    table["survived"] = table["probability"] >= champion.threshold
    table.to_csv(f"{path}.out", index=False)
    return time.perf_counter() - start


def _scrape_milliseconds() -> float:
    """The median processor time of answering /metrics here, with the counters of all processes of the product."""
    from django.core.cache import cache
    from django.test import Client

    client, times = Client(), []
    # The first connects, and parses the names of the series.
    client.get("/metrics")
    for _ in range(SCRAPES):
        # One text serves all scrapes of a second.
        cache.clear()
        start = time.process_time()
        assert client.get("/metrics").status_code == 200
        times.append(time.process_time() - start)
    return statistics.median(times) * 1e3


def _score(running: product.Product, path: Path) -> tuple[float, float]:
    """Upload the file and wait for its results: seconds and memory (MB)."""
    largest, url = 0.0, f"http://127.0.0.1:{running.port}/api/v1/scoring-jobs/"
    with httpx.Client(headers=running.headers, timeout=120) as api:
        with path.open("rb") as file:
            job = api.post(url, files={"file": file}).raise_for_status().json()
        while job["state"] in ("queued", "running"):
            largest = max(largest, running.memory("scoring", kind="rss"))
            time.sleep(0.2)
            job = api.get(f"{url}{job['id']}/").raise_for_status().json()
    assert job["state"] == "succeeded", job["error"]
    created, finished = (datetime.fromisoformat(job[name]) for name in ("created_at", "finished_at"))
    return (finished - created).total_seconds(), largest


if __name__ == "__main__":
    main("scoring")
