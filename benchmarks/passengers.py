"""Passengers in every form that a benchmark needs; all are the sample's, over and over."""

import csv
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.product import SAMPLE

PEOPLE = 200


def make(path: Path, *, row_count: int) -> Path:
    """Write `row_count` rows that all keep the contract; families stay families, and nobody is there twice."""
    header, *rows = _sample()
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


def columns(path: Path = SAMPLE) -> list[Any]:
    """A file's passengers through the contract, chunk by chunk."""
    from ingestion import table_validation
    from ingestion.passenger import RULES
    from ingestion.schema import FIELDS
    from ingestion.table import read

    required = [field.name for field in FIELDS if field.is_required]
    with path.open("rb") as file:
        chunks = read(file, fields=FIELDS, required=required)
        return [table_validation.check_columns(FIELDS, chunk.cells, rules=RULES).columns for chunk in chunks]


def examples() -> Any:
    """The sample's passengers, as a training has them."""
    from features.definition import derive
    from ingestion.passenger import BASELINE, GROUP, LABEL
    from ingestion.split import buckets_of, draw
    from training.training_data import Examples

    header, *rows = _sample()
    names = [name.lower() for name in header]
    labels = np.array([row[names.index(LABEL)] == "1" for row in rows])
    groups = [row[names.index(GROUP)] or str(number) for number, row in enumerate(rows)]
    (people,) = columns()
    return Examples(
        derive(people),
        labels,
        np.unique(groups, return_inverse=True)[1].astype(np.int64),
        draw(labels, buckets_of(group.encode() for group in groups)),
        people[BASELINE[0]] == BASELINE[1],
    )


def forest() -> tuple[Any, Any]:
    """A pipeline like the product's, fitted on the sample, and its artifact."""
    from training import estimators, export
    from training.artifact import Artifact

    train = examples().train
    pipeline = estimators.build("random_forest", seed=0).fit(train.matrix, train.labels)
    return pipeline, Artifact.load(export.to_graph(pipeline), golden=export.golden_rows(pipeline, train.matrix))


def people() -> list[dict[str, Any]]:
    """Passengers as the API takes them."""
    from ingestion.schema import FIELDS

    types = {field.name: int if field.is_integer else float if field.is_numeric else str for field in FIELDS}
    header, *rows = _sample()
    names = [name.lower() for name in header]
    return [
        {name: types[name](cell) for name, cell in zip(names, row, strict=True) if name in types and cell}
        for row in rows[:PEOPLE]
    ]


def _sample() -> list[list[str]]:
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))
