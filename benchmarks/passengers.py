"""A passenger table of any length: the sample over and over, each time with ids and tickets of its own.

python -m benchmarks.passengers ROWS PATH
"""

import csv
import sys
from itertools import count
from pathlib import Path

SAMPLE = Path(__file__).parents[1] / "ingestion" / "sample" / "titanic.csv"


def make(path: Path, *, row_count: int) -> Path:
    """Write `row_count` rows that all keep the contract; families stay families, and nobody is there twice."""
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    key, ticket = header.index("PassengerId"), header.index("Ticket")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        written = 0
        for voyage in count():
            passengers = [list(row) for row in rows[: row_count - written]]
            for number, passenger in enumerate(passengers, start=written + 1):
                passenger[key] = str(number)
                passenger[ticket] += f"-{voyage}"
            writer.writerows(passengers)
            written += len(passengers)
            if written == row_count:
                return path
    raise AssertionError


if __name__ == "__main__":
    make(Path(sys.argv[2]), row_count=int(sys.argv[1]))
