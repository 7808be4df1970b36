"""What an answer costs, with servers, workers and load on the same cores.

python -m benchmarks.serving
"""

import os
import pickle
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks import product
from benchmarks.__main__ import main
from benchmarks.figure import Figure
from benchmarks.load import Load, load

BATCH_ROWS = 1_000
PREDICTIONS, BATCH, EMPTY = "/api/v1/predictions/", "/api/v1/predictions/batch/", "/api/v1/empty/"
FORM = (
    b"Age=29&Fare=211.3375&Pclass=1&Sex=1&Embarked=2&Familysize=1&Isalone=1&HasCabin=1&Title=1"
    b"&Pclass_Fare=211.3375&Age_Fare=6128.7875"
)


def measure(*, is_quick: bool) -> list[Figure]:
    """Rates beside an empty view, plain Granian, the old service and ONNX alone; memory under that load."""
    running = product.running(is_quick=is_quick)
    with _plain_granian() as plain, _old_service() as old:
        product.wait_for_drain()
        figures = _single(running, plain=plain, old=old, rounds=1 if is_quick else 20, seconds=0.2 if is_quick else 1.0)
    return [
        *figures,
        _batch(running, rounds=1 if is_quick else 5, seconds=0.2 if is_quick else 2.0),
        Figure("largest web process", running.memory("granian", kind="pss"), "MB", at_most=200),
    ]


def _single(running: product.Product, *, plain: int, old: int, rounds: int, seconds: float) -> list[Figure]:
    """All in short turns: a machine that others use too is not equally fast from one moment to the next."""
    from benchmarks.passengers import people

    passengers = people()
    turns = {
        "predictions": (running.port, PREDICTIONS, passengers, running.token),
        "empty view": (running.port, EMPTY, passengers, running.token),
        "empty view, plain Granian": (plain, EMPTY, passengers, running.token),
        "/healthz": (running.port, "/healthz"),
        "/healthz, plain Granian": (plain, "/healthz"),
        "old service": (old, "/predict", [FORM]),
    }
    loads = dict.fromkeys(turns, Load())
    for turn in turns.values():
        load(*turn, seconds=seconds)
    for _ in range(rounds):
        for name, turn in turns.items():
            loads[name] += load(*turn, seconds=seconds)
    rates = {name: Figure(name, each.rate, "/s") for name, each in loads.items()}
    p99 = {
        name: Figure(f"{name}, p99", loads[name].quantile(0.99) * 1e3, "ms") for name in ("predictions", "empty view")
    }
    return [
        replace(rates["predictions"], reference=rates["old service"], at_least=20),
        replace(rates["predictions"], reference=rates["empty view"]),
        replace(p99["predictions"], reference=p99["empty view"]),
        replace(rates["empty view"], reference=rates["empty view, plain Granian"], at_least=0.9),
        replace(rates["/healthz"], reference=rates["/healthz, plain Granian"], at_least=0.9),
    ]


def _batch(running: product.Product, *, rounds: int, seconds: float) -> Figure:
    """Rows a second of batches, and of ONNX alone on such rows in as many processes."""
    from benchmarks.passengers import examples, people
    from training.models import ModelVersion

    passengers = people()
    batch = {"instances": [passengers[number % len(passengers)] for number in range(BATCH_ROWS)]}
    graph = ModelVersion.objects.champion().onnx_file.path
    matrix = examples().matrix[:BATCH_ROWS]
    ours, alone = Load(), 0.0
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for _ in range(rounds):
            ours += load(running.port, BATCH, [batch], running.token, seconds=seconds)
            product.wait_for_drain()
            alone += sum(pool.map(_onnx_rate, [graph] * 2, [matrix] * 2, [seconds] * 2)) / rounds
    reference = Figure("ONNX alone", alone, "rows/s")
    return Figure(f"batches of {BATCH_ROWS:,}", ours.rate * BATCH_ROWS, "rows/s", reference=reference, at_least=0.1)


def _onnx_rate(graph: str, matrix: Any, seconds: float) -> float:
    """Rows a second of a ready matrix that is scored over and over."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        session.run(["probabilities"], {"features": matrix})
        count += len(matrix)
    return count / (time.perf_counter() - start)


@contextmanager
def _plain_granian() -> Iterator[int]:
    """The same Django application as Granian's documentation serves one."""
    port = product.free_port()
    with product.server(
        "granian", "--interface", "wsgi", "--factory", "django.core.wsgi:get_wsgi_application", "--port", str(port),
        "--workers", "2", "--blocking-threads", "2", "--log-level", "warning", port=port,
    ):  # fmt: skip
        yield port


@contextmanager
def _old_service() -> Iterator[int]:
    """The stand-in as it was run, on a forest as it had."""
    import numpy as np
    import pandas as pd
    from sklearn.ensemble import RandomForestClassifier

    from benchmarks.passengers import examples
    from features.definition import FEATURES

    train, port = examples().train, product.free_port()
    reference = pd.DataFrame(np.nan_to_num(train.matrix), columns=FEATURES)
    forest = RandomForestClassifier(n_estimators=300, max_depth=20, min_samples_split=5, random_state=42)
    with tempfile.TemporaryDirectory(prefix="titanic-bench-") as folder:
        (Path(folder) / "model.pkl").write_bytes(pickle.dumps(forest.fit(reference, train.labels)))
        reference.to_pickle(Path(folder) / "reference.pkl")
        os.environ["OLD_SERVICE"] = folder
        with product.server(
            "gunicorn", "--workers", "2", "--preload", "--bind", f"127.0.0.1:{port}", "--log-level", "warning",
            "benchmarks.old_service:app", port=port,
        ):  # fmt: skip
            yield port


if __name__ == "__main__":
    main("serving")
