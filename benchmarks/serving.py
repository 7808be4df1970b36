"""What an answer costs, with servers, workers and load on the same cores: as shares of an empty view's rate.

python -m benchmarks.serving [HOME]; a HOME that is kept saves the first start.
"""

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.load import Load, post
from benchmarks.passengers import SAMPLE
from titanic_site import embedded

ROOT = Path(__file__).parents[1]
# Two for each thread of the server: with one, chance leaves a process more of them than the other, and cores idle.
CONNECTIONS = 16
# Short turns: a machine that others use too is not equally fast from one moment to the next.
ROUNDS, SECONDS = 20, 1.0
BATCH_ROUNDS, BATCH_ROWS = 5, 1_000
PEOPLE = 200


@contextmanager
def running(home: Path) -> Iterator[tuple[int, str]]:
    """The whole product on a free port; yields the port and a token."""
    port = _free_port()
    environment = {
        **os.environ, "TITANIC_HOME": str(home), "PORT": str(port), "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
        "DATABASE_URL": "", "REDIS_URL": "", "LOG_FORMAT": "", "LOGIN_REQUIRED": "false",
    }  # fmt: skip
    log = home / "up.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up"], cwd=ROOT, env=environment, stdout=out, stderr=out
        )
    try:
        while "READY" not in log.read_text():
            if process.poll() is not None:
                raise SystemExit(log.read_text()[-2000:])
            time.sleep(0.5)
        yield port, json.loads((home / "credentials.json").read_text())["token"]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)


@contextmanager
def old_service(folder: Path) -> Iterator[int]:
    """The stand-in as it was run: gunicorn with two workers."""
    _train_the_old_model(folder)
    port = _free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--workers", "2", "--bind", f"127.0.0.1:{port}", "--log-level", "warning",
         "benchmarks.old_service:app"],
        cwd=ROOT, env={**os.environ, "OLD_SERVICE": str(folder)}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def _train_the_old_model(folder: Path) -> None:
    import numpy as np
    import pandas as pd
    from sklearn.ensemble import RandomForestClassifier

    from benchmarks.search import examples
    from features.definition import FEATURES

    learned = examples().learned
    reference = pd.DataFrame(np.nan_to_num(learned.matrix), columns=FEATURES)
    forest = RandomForestClassifier(n_estimators=300, max_depth=20, min_samples_split=5, random_state=42)
    (folder / "model.pkl").write_bytes(pickle.dumps(forest.fit(reference, learned.labels)))
    reference.to_pickle(folder / "reference.pkl")


def measure(home: Path | None = None) -> dict[str, float]:
    """Rates as ratios, and the figures that they are ratios to."""
    with tempfile.TemporaryDirectory(prefix="titanic-bench-") as name:
        folder = Path(name)
        home = home or folder / "home"
        home.mkdir(exist_ok=True)
        with running(home) as (port, token):
            _wait_for_the_drain(home)
            figures = {**_single(port, token), **_batch(port, token, home=home)}
            figures["largest web process, MB"] = max(web_memory(port))
        with old_service(folder) as port:
            old = _old(port)
    return {
        **figures,
        "old service, answers a second": old.rate,
        "predictions / old service": figures["predictions a second"] / old.rate,
    }


def _single(port: int, token: str) -> dict[str, float]:
    asked = people()
    empty, ours = Load(0.0), Load(0.0)
    load(port, "/api/v1/predictions/", asked, token=token, seconds=1.0)
    for _ in range(ROUNDS):
        empty += load(port, "/api/v1/empty/", asked, token=token)
        ours += load(port, "/api/v1/predictions/", asked, token=token)
    return {
        "empty view, answers a second": empty.rate,
        "predictions a second": ours.rate,
        "predictions / empty view": ours.rate / empty.rate,
        "p99 of a prediction / of the empty view": ours.quantile(0.99) / empty.quantile(0.99),
        "p99 of a prediction, ms": ours.quantile(0.99) * 1e3,
    }


def _batch(port: int, token: str, *, home: Path) -> dict[str, float]:
    """Rows a second of batches, and of ONNX alone on the same rows in as many processes."""
    asked = people()
    rows = [asked[number % PEOPLE] for number in range(BATCH_ROWS)]
    graph = next(home.glob("artifacts/models/*.onnx"))
    ours, raw = Load(0.0), 0.0
    for _ in range(BATCH_ROUNDS):
        ours += load(port, "/api/v1/predictions/batch/", [{"instances": rows}], token=token, seconds=2.0)
        _wait_for_the_drain(home)
        raw += _alone(graph) / BATCH_ROUNDS
    return {
        "rows of batches a second": ours.rate * BATCH_ROWS,
        "rows of ONNX alone a second": raw,
        "rows of batches / of ONNX alone": ours.rate * BATCH_ROWS / raw,
    }


def _alone(graph: Path) -> float:
    """Rows a second of ONNX in two processes."""
    command = [sys.executable, "-c", f"from benchmarks import serving; serving.score_for({str(graph)!r}, seconds=2.0)"]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    return sum(float(process.communicate()[0]) for process in processes)


def score_for(graph: str, *, seconds: float) -> None:
    """Score a ready matrix over and over, and print how many rows a second that was."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    from benchmarks.search import examples

    setup()
    matrix = examples().matrix[np.arange(BATCH_ROWS) % PEOPLE]
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        session.run(["probabilities"], {"features": matrix})
        count += BATCH_ROWS
    print(count / (time.perf_counter() - began))


def _old(port: int) -> Load:
    """The stand-in's rate, asked as its page asks."""
    body = "Age=29&Fare=211.3375&Pclass=1&Sex=1&Embarked=2&Familysize=1&Isalone=1&HasCabin=1&Title=1"
    form = f"{body}&Pclass_Fare=211.3375&Age_Fare=6128.7875".encode()
    load(port, "/predict", [form], seconds=2.0)
    return load(port, "/predict", [form], seconds=8.0)


def load(port: int, path: str, bodies: Sequence[Any], *, token: str = "", seconds: float = SECONDS) -> Load:
    return post(port, path, bodies, token=token, seconds=seconds, connections=CONNECTIONS)


def setup() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "titanic_site.settings")
    django.setup()


def people() -> list[dict[str, Any]]:
    """Passengers of the sample as the API takes them."""
    import csv

    from ingestion.passenger import FIELDS

    types = {rule.name: int if rule.is_integer else float if rule.is_numeric else str for rule in FIELDS}
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        rows = [{name.lower(): text for name, text in row.items()} for row in csv.DictReader(file)]
    return [{name: types[name](text) for name, text in row.items() if name in types and text} for row in rows[:PEOPLE]]


def web_memory(port: int) -> Sequence[float]:
    """Memory (MB) of the processes that answer at the port, of what they share each one's part (PSS)."""
    servers = [
        process for process in psutil.process_iter(["cmdline"])
        if "granian" in " ".join(process.info["cmdline"] or []) and str(port) in process.info["cmdline"]
    ]  # fmt: skip
    return [child.memory_full_info().pss / 1e6 for server in servers for child in server.children()]


def _wait_for_the_drain(home: Path) -> None:
    """What was logged before, by an earlier run, would be drained meanwhile."""
    import redis

    with redis.Redis.from_url(embedded.Layout(home).redis_url) as client:
        while client.xlen("predictions:log") > 100:
            time.sleep(0.5)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(port: int) -> None:
    while True:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.2)


if __name__ == "__main__":
    setup()
    found = measure(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None)
    print("\n".join(f"{name:42}{figure:10,.2f}" for name, figure in found.items()))
