"""A file scored by the product's workers, beside pandas and ONNX in one process on the same file.

python -m benchmarks.scoring [ROWS]
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from benchmarks.passengers import make
from titanic_site import embedded

ROOT = Path(__file__).parents[1]
WORKERS = 2
TIMES_AS_MANY = 4


def measure(row_count: int = 1_000_000) -> dict[str, float]:
    """Seconds, ratios, and the largest worker's memory (MB)."""
    with tempfile.TemporaryDirectory(prefix="titanic-bench-") as name:
        folder = Path(name)
        layout = embedded.Layout(folder / "home")
        environment = {**os.environ, "TITANIC_HOME": str(folder / "home"), "DATABASE_URL": "", "REDIS_URL": "",
                       "LOG_FORMAT": "", "DJANGO_SETTINGS_MODULE": "titanic_site.settings"}  # fmt: skip
        with embedded.in_use(layout):
            _run(environment, "migrate", "--verbosity", "0")
            _run(environment, "bootstrap")
            path = make(folder / "people.csv", row_count=row_count)
            large = make(folder / "large.csv", row_count=TIMES_AS_MANY * row_count)
            plain = float(
                _run(environment, "shell", "-c", f"from benchmarks import scoring; scoring.plainly({str(path)!r})")
            )
            with _workers(environment) as workers:
                # Beside a job that takes a minute, one before it alone would show the machine's moods.
                before, longer, after = (_scored(environment, each, workers) for each in (path, large, path))
    ours = (before.seconds + after.seconds) / 2
    return {
        "pandas and ONNX in one process, s": plain,
        "scoring job on two workers, s": ours,
        "scoring job / pandas and ONNX": ours / plain,
        "four times as many rows / the job": longer.seconds / ours,
        "largest worker, MB": max(before.memory, longer.memory, after.memory),
    }


def plainly(path: str) -> None:
    """pandas reads, ONNX scores the ready matrix, pandas writes; prints the seconds but for the features."""
    import pandas as pd

    from features.definition import derive
    from ingestion import sieve
    from ingestion.passenger import FIELD_NAMES, FIELDS, RULES
    from ingestion.table import read
    from predictions import scorer

    champion = scorer.current()
    with Path(path).open("rb") as file:
        chunks = read(file, known=FIELD_NAMES, required=())
        matrices = [derive(sieve.check_columns(FIELDS, chunk.cells, rules=RULES).columns) for chunk in chunks]
    began = time.perf_counter()
    table = pd.read_csv(path)
    probabilities = [probability for matrix in matrices for probability in champion.artifact.score(matrix)]
    table = table.head(len(probabilities)).assign(probability=probabilities)
    table["survived"] = table["probability"] >= champion.threshold
    table.to_csv(f"{path}.out", index=False)
    print(time.perf_counter() - began)


class _workers:  # noqa: N801
    """Worker processes of the queue of scoring, each with one process."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    def __enter__(self) -> list[psutil.Process]:
        self._started = [
            subprocess.Popen(
                [sys.executable, "-m", "celery", "-q", "-A", "titanic_site", "worker", "-Q", "scoring", "-P", "solo",
                 "-n", f"bench{number}@%h", "--without-gossip", "--without-mingle", "--without-heartbeat"],
                cwd=ROOT, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            for number in range(WORKERS)
        ]  # fmt: skip
        time.sleep(8)
        return [psutil.Process(worker.pid) for worker in self._started]

    def __exit__(self, *exc: object) -> None:
        for worker in self._started:
            worker.terminate()
        for worker in self._started:
            worker.wait(60)


class Scored(NamedTuple):
    """Seconds from a job's message to its end, and the largest worker's memory meanwhile (MB)."""

    seconds: float
    memory: float


def _scored(environment: dict[str, str], path: Path, workers: list[psutil.Process]) -> Scored:
    code = f"from benchmarks import scoring; scoring.ask({str(path)!r})"
    asking = subprocess.Popen(
        [sys.executable, "manage.py", "shell", "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    largest = 0.0
    while asking.poll() is None:
        largest = max(largest, *(worker.memory_info().rss / 1e6 for worker in workers))
        time.sleep(0.05)
    assert asking.stdout is not None
    return Scored(float(asking.stdout.read().splitlines()[-1]), largest)


def ask(path: str) -> None:
    """Queue the file and wait for its results; prints the seconds."""
    from django.core.files import File

    from predictions.models import ScoringJob
    from titanic_site.lib.jobs import enqueue

    with Path(path).open("rb") as file:
        job = ScoringJob.objects.create(upload=File(file, "people.csv"), name="people.csv")
    began = time.perf_counter()
    enqueue(job)
    while job.is_open:
        time.sleep(0.05)
        job.refresh_from_db()
    seconds = time.perf_counter() - began
    assert job.state == "succeeded", job.error
    print(seconds)


def _run(environment: dict[str, str], *command: Any) -> str:
    found = subprocess.run(
        [sys.executable, "manage.py", *command], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    return found.stdout.splitlines()[-1] if found.stdout else ""


if __name__ == "__main__":
    for title, figure in measure(*map(int, sys.argv[1:])).items():
        print(f"{title:42}{figure:10,.2f}")
