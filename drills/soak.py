"""An hour of mixed load on the whole product: python -m drills.soak, or make soak. Needs Linux.

Each minute it records memory, open files, connections, sizes of tables, Redis and the log's stream; in the end it says
of each whether it is flat in the second half. Exit code 1 when one grows, a prediction was lost or doubled, or too much
failed.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg2
import redis
from scipy.stats import theilslopes

from drills.drill import stored
from drills.mixed_load import MixedLoad
from drills.product import Product, running, tree

#: What may come to it in an hour, as a share of its level, and what may come to it anyway: pools open a connection for
#: each thread that ever needs one beside the others. What grew with each request would grow by tens of thousands.
MOST_GROWTH = 0.05
ALLOWANCES = {"MB": 5.0, "open files": 10.0, "connections": 3.0, "files": 1.0, "entries": 50.0}
MOST_FAILED = 0.001
#: Program of `up` -> a word of its command.
PROGRAMS = {
    "web": "granian", "worker fast": "fast@%h", "worker work": "work@%h", "worker training": "training@%h",
    "scheduler": "beat",
}  # fmt: skip
#: What grows by design, and with what.
BY_DESIGN = {
    "prediction log": "prediction",
    "other tables": "minute",
    "Redis": "minute",
    "files of jobs and models": "minute",
}
REPORT = """\
# Soak

`make soak` starts the product with servers of its own (`manage.py up`), lets clients do everything at once for an hour
at a gentle pace, and records each minute what the processes hold. This page is what it wrote last;
`ARGS="--minutes 10"` makes it shorter.

Run on {day} for {minutes} minutes, on {cores} cores with {memory:.0f} GiB of memory, Python {python}; the load average
was {work:.1f} in the end, work of others included.

| done | times |
|---|---|
{done}
| failed | {failed} |

{reasons}
Of {acknowledged:,} acknowledged predictions {lost} were lost and {doubled} stored twice.

## What must stay as it is

Memory is what processes have for themselves: anonymous pages, shared ones divided among those that share them. Growth
is the median slope of the second half, for an hour; flat is at most {share:.0%} of the level, or where that is more
{allowances}.

| | first minute | half | end | growth in an hour | flat |
|---|---|---|---|---|---|
{flat}

## What grows by design

Predictions are kept; jobs and their files as long as settings say; in Redis the answers under an idempotency key for a
day, and the features of the newest tables.

| | half | end | in the second half |
|---|---|---|---|
{grown}
"""
Minute = dict[str, float]


@dataclass(frozen=True)
class Trend:
    """How something went: its level in the first minute, at the half and in the end, and its growth in an hour."""

    name: str
    unit: str
    first: float
    half: float
    last: float
    growth: float

    @property
    def limit(self) -> float:
        return max(MOST_GROWTH * self.last, ALLOWANCES[self.unit])

    @property
    def is_flat(self) -> bool:
        return self.growth <= self.limit


def main() -> None:
    """Run the load and write the report."""
    parser = argparse.ArgumentParser(prog="python -m drills.soak", description=__doc__)
    parser.add_argument("--minutes", type=int, default=60, help="how long it goes on")
    parser.add_argument("--report", type=Path, help="the file to write the report to")
    parser.add_argument("--samples", type=Path, help="the file to write each minute's figures to, as JSON")
    options = parser.parse_args()
    minutes: list[Minute] = []
    with running(on_its_own_disk=False) as product, tempfile.TemporaryDirectory() as folder:
        load = MixedLoad(product, Path(folder))
        with load.running():
            end = time.monotonic() + 60 * options.minutes
            while (left := end - time.monotonic()) > 0:
                time.sleep(min(60, left))
                minutes.append(record(product))
                print(f"{len(minutes):3} {load.done.total():7,} done, {load.errors.total()} failed", flush=True)
                if options.samples:
                    options.samples.write_text(json.dumps(minutes, indent=1) + "\n")
        rows = stored(product, load.acknowledged)
    lost, doubled = len(load.acknowledged) - len(rows), rows.total() - len(rows)
    trends = [trend(minutes, name) for name in minutes[-1] if "|" in name]
    text = report(load, minutes, trends, lost=lost, doubled=doubled)
    print(text)
    if options.report:
        options.report.write_text(text)
    is_answered = load.errors.total() <= MOST_FAILED * load.done.total()
    sys.exit(bool(lost or doubled or not is_answered or not all(one.is_flat for one in trends)))


def record(product: Product) -> Minute:
    """Measure everything once; what should stay is named with its unit."""
    minute: Minute = {}
    groups = {name: _trees(product.processes(word)) for name, word in PROGRAMS.items()}
    groups |= {"up": [psutil.Process(product.up.pid)], "PostgreSQL": product.postgres(), "Valkey": product.valkey()}
    for name, processes in groups.items():
        minute[f"{name}|MB"] = sum(map(_own_memory, processes)) / 1e6
        minute[f"{name}|open files"] = sum(map(_open_files, processes))
    with closing(psycopg2.connect(product.layout.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),"
            " (SELECT count(*) FROM predictions_prediction), pg_database_size(current_database()),"
            " (SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('predictions_prediction'))"
        )
        connections, predictions, all_bytes, log_bytes = map(float, cursor.fetchone())
    # A connection of PostgreSQL is a process, with the tables and files that it has seen; clients open and close them.
    for unit in ("MB", "open files"):
        minute[f"PostgreSQL, each connection|{unit}"] = minute.pop(f"PostgreSQL|{unit}") / connections
    with redis.Redis.from_url(product.layout.redis_url) as client:
        info = client.info("memory")
        minute |= {
            "connections to PostgreSQL|connections": connections,
            "stream of the prediction log|entries": client.xlen("predictions:log"),
            "messages in the queues|entries": sum(map(client.llen, ("fast", "default", "scoring", "training"))),
        }
    minute |= {
        "files of metrics|files": len(list((product.home / "metrics").glob("*.db"))),
        "predictions": predictions,
        "prediction log": log_bytes,
        "other tables": all_bytes - log_bytes,
        "Redis": info["used_memory"],
        "files of jobs and models": _size(product.home / "artifacts"),
    }
    return minute


def trend(minutes: Sequence[Minute], name: str) -> Trend:
    """Take the growth as the median slope between all pairs of minutes of the second half."""
    values = [minute[name] for minute in minutes]
    half = len(values) // 2
    slope = theilslopes(values[half:]).slope if len(values[half:]) > 1 else 0.0
    title, _, unit = name.partition("|")
    return Trend(title, unit, values[0], values[half], values[-1], 60 * float(slope))


def report(load: MixedLoad, minutes: Sequence[Minute], trends: Sequence[Trend], *, lost: int, doubled: int) -> str:
    """Write the report in Markdown."""
    half, last = minutes[len(minutes) // 2], minutes[-1]
    counts = {
        "minute": len(minutes) - 1 - len(minutes) // 2,
        "prediction": last["predictions"] - half["predictions"],
    }
    grown = [
        f"| {name} | {half[name] / 1e6:,.1f} MB | {last[name] / 1e6:,.1f} MB |"
        f" {(last[name] - half[name]) / max(counts[by], 1):,.0f} bytes a {by} |"
        for name, by in BY_DESIGN.items()
    ]
    flat = [
        f"| {one.name}, {one.unit} | {one.first:,.0f} | {one.half:,.0f} | {one.last:,.0f} | {one.growth:+,.1f}"
        f" | {'yes' if one.is_flat else '**no**'} |"
        for one in trends
    ]
    return REPORT.format(
        day=f"{datetime.now(UTC):%Y-%m-%d}",
        minutes=len(minutes),
        cores=os.cpu_count(),
        memory=psutil.virtual_memory().total / 2**30,
        python=platform.python_version(),
        work=os.getloadavg()[2],
        done="\n".join(f"| {name} | {count:,} |" for name, count in load.done.most_common()),
        failed=load.errors.total(),
        reasons="".join(f"- {count} x {reason}\n" for reason, count in load.errors.most_common()),
        acknowledged=len(load.acknowledged),
        lost=lost,
        doubled=doubled,
        share=MOST_GROWTH,
        allowances=", ".join(f"{most:g} {unit}" for unit, most in ALLOWANCES.items()),
        flat="\n".join(flat),
        grown="\n".join(grown),
    )


def _trees(tops: list[psutil.Process]) -> list[psutil.Process]:
    return [process for top in tops for process in tree(top.pid)]


def _own_memory(process: psutil.Process) -> float:
    """Return the bytes of anonymous memory, shared pages divided; 0 for a process that has ended meanwhile."""
    with suppress(OSError):
        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        fields = dict(line.split(":", 1) for line in rollup.splitlines()[1:])
        return 1024.0 * float(fields["Pss_Anon"].split()[0])
    return 0.0


def _open_files(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):
        return int(process.num_fds())
    return 0


def _size(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            size += path.stat().st_size if path.is_file() else 0
    return size


if __name__ == "__main__":
    main()
