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
#: JSON is written for a part of the rows and scaled up: all of them take half a minute.
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
    used_before = client.info("memory")["used_memory"]

    def write() -> store.Writer:
        writer = store.Writer()
        for start in range(0, row_count, CHUNK_ROWS):
            writer.add(ids[start : start + CHUNK_ROWS], matrix[start : start + CHUNK_ROWS])
        return writer

    stored = write().publish(1)
    row_bytes = (client.info("memory")["used_memory"] - used_before) / row_count
    chunks_key, rows_key = stored.keys
    chunks = client.lrange(chunks_key, 0, -1)
    rows = [
        dict(zip(ids[start : start + CHUNK_ROWS], client.hmget(rows_key, ids[start : start + CHUNK_ROWS]), strict=True))
        for start in range(0, row_count, CHUNK_ROWS)
    ]

    def bare() -> None:
        """The same commands, all of their arguments there before the clock starts."""
        for index, mapping in enumerate(rows):
            with client.pipeline(transaction=False) as pipeline:
                pipeline.rpush("bare:chunks", *chunks[2 * index : 2 * index + 2])
                pipeline.hset("bare:rows", mapping=mapping)
                pipeline.execute()

    def clear() -> None:
        for key in (*client.scan_iter("bare:*"), *client.scan_iter("features:draft:*")):
            client.unlink(key)
        while client.info("memory")["lazyfree_pending_objects"]:
            time.sleep(0.1)

    written, written_bare = [], []
    for _ in range(rounds):
        written += best_seconds(write, rounds=1)
        clear()
        written_bare += best_seconds(bare, rounds=1)
        clear()
    bare_write = Figure("bare pipeline of the same bytes", min(written_bare), "s")
    our_write = Figure(f"write {row_count:,} feature rows", min(written), "s", reference=bare_write, at_most=2.5)
    json_count = min(JSON_ROWS, row_count)
    (as_json,) = best_seconds(lambda: _write_json(client, ids[:json_count], matrix), rounds=2)
    (verified,) = best_seconds(stored.verify, rounds=2)
    hget, row = _medians(lambda: client.hget(rows_key, "77"), lambda: stored.row("77"), calls=calls)
    client.set("bare", matrix.tobytes())
    get, loaded = best_seconds(lambda: client.get("bare"), stored.matrix, rounds=rounds)
    bare_get = Figure("bare GET of its bytes", get, "s")
    client.flushdb()
    return [
        our_write,
        Figure("one JSON SET for each row", as_json * row_count / json_count, "s", reference=our_write, at_least=5),
        Figure("read back and verify", verified, "s", reference=bare_write),
        Figure("memory of a row", row_bytes, "bytes", at_most=150),
        Figure("look-up", row, "µs", reference=Figure("bare HGET", hget, "µs"), at_most=1.5),
        Figure("load and verify the matrix", loaded, "s", reference=bare_get, at_most=3),
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
    return Figure(f"derive {row_count:,} rows", derived, "s", reference=reference, at_most=1)


if __name__ == "__main__":
    main("features")
