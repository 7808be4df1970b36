"""What the steps of one prediction cost, beside one ONNX call.

python -m benchmarks.one_passenger
"""

from benchmarks.__main__ import main
from benchmarks.figure import Figure, best_microseconds


def measure(*, is_quick: bool) -> list[Figure]:
    """The contract, the features and scikit-learn for one passenger."""
    from benchmarks.passengers import forest
    from features.definition import derive
    from ingestion.passenger import EXAMPLE
    from ingestion.schema import CONTRACT, to_columns

    pipeline, artifact = forest()
    columns = to_columns([CONTRACT.check(EXAMPLE)[0]])
    row = derive(columns)
    calls = 10 if is_quick else 2_000
    score, check, derived = best_microseconds(
        lambda: artifact.score(row),
        lambda: CONTRACT.check(EXAMPLE),
        lambda: derive(columns),
        calls=calls,
    )
    (sklearn,) = best_microseconds(lambda: pipeline.predict_proba(row), calls=calls // 100 or 1)
    onnx = Figure("one ONNX call", score, "µs")
    return [
        Figure("check one row", check, "µs", reference=onnx),
        Figure("derive one row", derived, "µs", reference=onnx, at_most=3),
        Figure("scikit-learn on one row", sklearn, "µs", reference=onnx),
    ]


if __name__ == "__main__":
    main("one_passenger")
