"""make bench: what one passenger costs, as ratios to one ONNX call, and what a million cost, as ratios to psql.

All in the same run; also written to results.json.
"""

import json
import timeit
from collections.abc import Callable
from pathlib import Path

import django
import numpy as np
from django.conf import settings

from benchmarks import explanation, features, ingest, scoring, search, serving

RESULTS = Path(__file__).with_name("results.json")
ONE = {"pclass": 3, "sex": "male", "age": 22, "fare": 7.25, "embarked": "S", "name": "Braund, Mr. Owen Harris"}


def microseconds(work: Callable[[], object], *, number: int = 2000) -> float:
    """The best of five rounds, per call."""
    return min(timeit.repeat(work, number=number, repeat=5)) / number * 1e6


def main() -> None:
    settings.configure()
    django.setup()
    from features.definition import FEATURES, derive
    from ingestion import contract
    from ingestion.passenger import FIELDS, RULES, to_columns
    from training import estimators, export
    from training.artifact import Artifact

    rng = np.random.default_rng(0)
    matrix = rng.random((400, len(FEATURES)), dtype=np.float32)
    pipeline = estimators.build("random_forest", seed=0).fit(matrix, matrix[:, 0] > 0.5)
    artifact = Artifact.load(export.to_graph(pipeline), golden=export.golden_rows(pipeline, matrix))
    columns = to_columns([contract.check_row(FIELDS, ONE, rules=RULES)[0]])
    row = derive(columns)
    reference = microseconds(lambda: artifact.score(row))
    steps = {
        "check one passenger": microseconds(lambda: contract.check_row(FIELDS, ONE, rules=RULES)),
        "derive its features": microseconds(lambda: derive(columns)),
        "scikit-learn on its row": microseconds(lambda: pipeline.predict_proba(row), number=20),
    }
    results = {name: round(cost / reference, 2) for name, cost in steps.items()}
    print(f"{'one ONNX call':42}{reference:10.1f} µs")
    for name, ratio in results.items():
        print(f"{name:42}{ratio:10.2f} x")
    print("ingest of a million rows, and of four million: a minute or two")
    table = ingest.measure(1_000_000)
    for name, figure in table.items():
        print(f"{name:42}{figure:10,.2f}")
    print("features of a million rows: a minute")
    store = features.measure()
    for name, figure in store.items():
        print(f"{name:42}{figure:10,.2f}")
    print("the search for hyper-parameters: a minute")
    searched = search.measure()
    for name, figure in searched.items():
        print(f"{name:42}{figure:10,.2f}")
    print("explanation")
    explained = explanation.measure()
    for name, figure in explained.items():
        print(f"{name:42}{figure:10,.2f}")
    print("serving, beside an empty view and the old service: three minutes")
    served = serving.measure()
    for name, figure in served.items():
        print(f"{name:42}{figure:10,.2f}")
    print("scoring files of one and four million rows: four minutes")
    scored = scoring.measure()
    for name, figure in scored.items():
        print(f"{name:42}{figure:10,.2f}")
    found = {
        "one passenger": {"reference": "one ONNX call", "ratios": results},
        "a million passengers": table,
        "features": store,
        "search": searched,
        "explanation": explained,
        "serving": served,
        "scoring files": scored,
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
