"""The feature store beside the least that Redis could do, and the definition beside pandas.

python -m benchmarks.features
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.__main__ import main
from benchmarks.figure import Figure, best_seconds

ROWS, QUICK_ROWS = 1_000_000, 2_000
CALLS, QUICK_CALLS = 2_000, 20
CHUNK_ROWS = 20_000
BUCKETS_PER_COMMAND = 2048
#: JSON is written for a part of the rows and scaled up: all of them take a minute.
JSON_ROWS = 50_000


def measure(*, is_quick: bool) -> list[Figure]:
    """Write, verify, look up and load a batch, and derive its rows."""
    row_count, calls, rounds = (QUICK_ROWS, QUICK_CALLS, 1) if is_quick else (ROWS, CALLS, 5)
    return [*_store(row_count, calls=calls, rounds=rounds), _definition(row_count, rounds=rounds)]


def _store(row_count: int, *, calls: int, rounds: int) -> list[Figure]:
    from core import redis
    from features import store
    from features.definition import FEATURES

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
    store.set_current(1)
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

    published = {key.encode() for key in meta.keys}

    def clear() -> None:
        for key in {*client.scan_iter("bare:*"), *client.scan_iter("features:1:????????:*")} - published:
            client.unlink(key)
        time.sleep(0.2)

    written, written_bare = [], []
    for _ in range(rounds):
        written += best_seconds(write, rounds=1)
        clear()
        written_bare += best_seconds(bare, rounds=1)
        clear()
    bare_write = Figure("bare pipeline of the same bytes", min(written_bare), "s")
    our_write = Figure(f"write {row_count:,} feature rows", min(written), "s", reference=bare_write, at_most=1.5)
    json_count = min(JSON_ROWS, row_count)
    (as_json,) = best_seconds(lambda: _write_json(client, ids[:json_count], matrix), rounds=2)
    (verified,) = best_seconds(lambda: store.verify(meta), rounds=2)
    last_rows = meta.keys[-1]
    hget, row, current = _medians(
        lambda: client.hget(last_rows, 5),
        lambda: store.rows(1, ["77"]),
        lambda: store.current_rows(["77"]),
        calls=calls,
    )
    client.set("bare", matrix.tobytes())
    get, loaded = best_seconds(lambda: client.get("bare"), lambda: store.matrix(1), rounds=rounds)
    client.flushdb()
    bare_look_up = Figure("bare HGET", hget, "µs")
    return [
        our_write,
        Figure("one JSON SET for each row", as_json * row_count / json_count, "s", reference=our_write, at_least=20),
        Figure("read back and verify", verified, "s", reference=bare_write),
        Figure("look-up in a batch", row, "µs", reference=bare_look_up, at_most=1.3),
        Figure("look-up in the current batch", current, "µs", reference=bare_look_up, at_most=1.3),
        Figure("load the matrix", loaded, "s", reference=Figure("bare GET of its bytes", get, "s"), at_most=2),
    ]


def _medians(*works: Callable[[], object], calls: int) -> list[float]:
    """The median (µs) of single calls, in turn: whether the server sleeps is chance, and the same for all."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(calls):
        for each, work in zip(times, works, strict=True):
            start = time.perf_counter()
            work()
            each.append(time.perf_counter() - start)
    return [statistics.median(each) * 1e6 for each in times]


def _write_json(client: Any, ids: list[str], matrix: Any) -> None:
    """As people do: one key per passenger, in pipelines of ten thousand."""
    from features.definition import FEATURES

    for start in range(0, len(ids), 10_000):
        with client.pipeline(transaction=False) as pipeline:
            part = slice(start, start + 10_000)
            for passenger_id, row in zip(ids[part], matrix[part].tolist(), strict=False):
                pipeline.set(f"passenger:{passenger_id}", json.dumps(dict(zip(FEATURES, row, strict=True))))
            pipeline.execute()


def _definition(row_count: int, *, rounds: int) -> Figure:
    import pandas as pd

    from benchmarks.passengers import columns, make
    from features.definition import derive

    with tempfile.TemporaryDirectory(prefix="titanic-bench-") as folder:
        path = make(Path(folder) / "passengers.csv", row_count=row_count)
        chunks = columns(path)
        csv, derived = best_seconds(
            lambda: pd.read_csv(path), lambda: [derive(chunk) for chunk in chunks], rounds=rounds
        )
    reference = Figure("pandas reads their CSV", csv, "s")
    return Figure(f"derive {row_count:,} passengers", derived, "s", reference=reference, at_most=1)


if __name__ == "__main__":
    main("features")
