"""The feature store and the definition against the least that could be done, in the same run.

python -m benchmarks.features [ROWS]
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.passengers import SAMPLE, make
from titanic_site import embedded

ROUNDS = 5
CALLS = 2000
CHUNK_ROWS = 20_000
BUCKETS_PER_COMMAND = 2048
#: JSON is written for a part of the rows and scaled up: all of them take a minute.
JSON_ROWS = 50_000


def seconds(*works: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """The best of several rounds of each; taking turns, so that a busy machine is busy for all."""
    best = [float("inf")] * len(works)
    for _ in range(rounds):
        for place, work in enumerate(works):
            start = time.perf_counter()
            work()
            best[place] = min(best[place], time.perf_counter() - start)
    return best


def often(work: Callable[[], object]) -> Callable[[], None]:
    """Work of microseconds, so many times that it can be measured."""

    def run() -> None:
        for _ in range(CALLS):
            work()

    return run


def latencies(*works: Callable[[], object]) -> list[float]:
    """The median of single calls, in turn: whether the server had gone to sleep is chance, and the same for all."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(CALLS):
        for times, work in zip(taken, works, strict=True):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in taken]


def measure(row_count: int = 1_000_000) -> dict[str, float]:
    """Ratios, and the seconds that they are ratios to."""
    from django.conf import settings

    from titanic_site.lib import redis

    with tempfile.TemporaryDirectory(prefix="titanic-bench-") as folder:
        layout = embedded.Layout(Path(folder) / "home")
        path = make(Path(folder) / "passengers.csv", row_count=row_count)
        with embedded.in_use(layout):
            settings.REDIS_URL = layout.redis_url
            redis.client.cache_clear()
            found = {**_definition(path), **_store(row_count)}
            redis.client.cache_clear()
    return {name: round(figure, 3) for name, figure in found.items()}


def _store(row_count: int) -> dict[str, float]:
    from features import store
    from features.definition import FEATURES
    from titanic_site.lib import redis

    client = redis.client()
    ids = [str(number) for number in range(1, row_count + 1)]
    matrix = np.random.default_rng(0).random((row_count, len(FEATURES)), dtype=np.float32)

    def write() -> store.Meta:
        writer = store.Writer(1)
        for start in range(0, row_count, CHUNK_ROWS):
            writer.add(ids[start : start + CHUNK_ROWS], matrix[start : start + CHUNK_ROWS])
        return writer.close()

    meta = write()
    store.verify(meta)
    store.publish(1, meta)
    store.switch(1)
    values = {key: client.get(key) for key in meta.keys if ":rows:" not in key}
    hashes = {key: sorted((int(k), v) for k, v in client.hgetall(key).items()) for key in meta.keys if ":rows:" in key}
    commands = [
        (key, dict(buckets[start : start + BUCKETS_PER_COMMAND]))
        for key, buckets in hashes.items()
        for start in range(0, len(buckets), BUCKETS_PER_COMMAND)
    ]

    def bare() -> None:
        """The same bytes into as many keys and fields, all of them there before the clock starts."""
        for key, value in values.items():
            with client.pipeline(transaction=False) as pipeline:
                pipeline.set(f"bare:{key}", value)
                pipeline.execute()
        for key, buckets in commands:
            with client.pipeline(transaction=False) as pipeline:
                pipeline.hset(f"bare:{key}", mapping=buckets)
                pipeline.execute()

    kept = set(meta.keys)

    def clear() -> None:
        for key in [*client.scan_iter("bare:*"), *client.scan_iter("features:1:????????:*")]:
            if key.decode() not in kept:
                client.unlink(key)
        time.sleep(0.2)

    written, written_bare = [], []
    for _ in range(ROUNDS):
        written += seconds(write, rounds=1)
        clear()
        written_bare += seconds(bare, rounds=1)
        clear()
    (as_json,) = seconds(lambda: _write_json(client, ids, matrix), rounds=2)
    as_json *= row_count / min(JSON_ROWS, row_count)
    (checked,) = seconds(lambda: store.verify(meta), rounds=2)
    hget, row, current = _look_ups(client, meta)
    client.set("bare", matrix.tobytes())
    get, loaded = seconds(lambda: client.get("bare"), lambda: store.matrix(1))
    return {
        "bare pipeline of the same bytes, s": min(written_bare),
        "write, x bare pipeline": min(written) / min(written_bare),
        "one JSON SET per row, x write": as_json / min(written),
        "read back and verify, x bare pipeline": checked / min(written_bare),
        "bare HGET, µs": hget * 1e6,
        "look-up in a batch, x bare HGET": row / hget,
        "look-up in the current batch, x bare HGET": current / hget,
        "bare GET of the matrix, s": get,
        "load the matrix, x bare GET": loaded / get,
    }


def _look_ups(client: Any, meta: Any) -> list[float]:
    from features import store

    key = meta.keys[-1]
    store.current_rows(["77"])
    return latencies(lambda: client.hget(key, 5), lambda: store.rows(1, ["77"]), lambda: store.current_rows(["77"]))


def _write_json(client: Any, ids: list[str], matrix: NDArray[np.float32]) -> None:
    """As people do: one key per passenger, in pipelines of ten thousand."""
    from features.definition import FEATURES

    for start in range(0, min(JSON_ROWS, len(ids)), 10_000):
        with client.pipeline(transaction=False) as pipeline:
            part = slice(start, start + 10_000)
            for passenger_id, row in zip(ids[part], matrix[part].tolist(), strict=True):
                pipeline.set(f"passenger:{passenger_id}", json.dumps(dict(zip(FEATURES, row, strict=True))))
            pipeline.execute()


def _definition(path: Path) -> dict[str, float]:
    import pandas as pd

    from features.definition import derive

    artifact, columns = _model(), _columns(path)
    one = {name: column[:1] for name, column in columns[0].items()}
    row = derive(one)
    onnx, derived = seconds(often(lambda: artifact.score(row)), often(lambda: derive(one)))
    csv, many = seconds(lambda: pd.read_csv(path), lambda: [derive(chunk) for chunk in columns], rounds=3)
    return {
        "one ONNX call, µs": onnx / CALLS * 1e6,
        "derive one passenger, x one ONNX call": derived / onnx,
        "pandas reads their CSV, s": csv,
        "derive all of them, x pandas reads their CSV": many / csv,
    }


def _model() -> Any:
    """A forest like the product's, on the sample."""
    from features.definition import derive
    from training import estimators, export
    from training.artifact import Artifact

    (sample, *_rest) = _columns(SAMPLE)
    matrix = derive(sample)
    pipeline = estimators.build("random_forest", seed=0).fit(matrix, matrix[:, 3] > 0)
    return Artifact.load(export.to_graph(pipeline), golden=export.golden_rows(pipeline, matrix))


def _columns(path: Path) -> list[Any]:
    """The file's passengers through the contract, chunk by chunk."""
    from ingestion import sieve
    from ingestion.passenger import FIELD_NAMES, FIELDS, RULES
    from ingestion.table import read

    required = [field.name for field in FIELDS if field.is_required]
    with path.open("rb") as file:
        chunks = read(file, known=FIELD_NAMES, required=required)
        return [sieve.check_columns(FIELDS, chunk.cells, rules=RULES).columns for chunk in chunks]


if __name__ == "__main__":
    import django
    from django.conf import settings

    settings.configure()
    django.setup()
    print(json.dumps(measure(int(sys.argv[1]) if sys.argv[1:] else 1_000_000), indent=1, ensure_ascii=False))
