"""One explanation beside the rows that it has to score, through ONNX alone.

python -m benchmarks.explanation
"""

from benchmarks.__main__ import main
from benchmarks.figure import Figure, best_seconds


def measure(*, is_quick: bool) -> list[Figure]:
    """Nine fields, 512 coalitions, 32 passengers to compare with."""
    import numpy as np

    from benchmarks.passengers import examples, forest
    from features.definition import FEATURES, INPUTS
    from ingestion.passenger import EXAMPLE
    from ingestion.schema import CONTRACT
    from predictions.explanation import Explainer
    from training.services import BACKGROUND_ROWS

    _pipeline, artifact = forest()
    people = [{**EXAMPLE, "age": 20.0 + n} for n in range(BACKGROUND_ROWS)]
    rows = [tuple(CONTRACT.check(person)[0].values()) for person in (EXAMPLE, *people)]
    explainer = Explainer(artifact, rows[1:])
    count = 2 ** len(INPUTS) * BACKGROUND_ROWS
    matrix = np.resize(examples().matrix, (count, len(FEATURES)))
    one, alone = best_seconds(
        lambda: explainer.contributions(rows[:1]), lambda: artifact.score(matrix), rounds=1 if is_quick else 5
    )
    reference = Figure(f"{count:,} rows through ONNX", alone * 1e3, "ms")
    return [Figure("one explanation", one * 1e3, "ms", reference=reference)]


if __name__ == "__main__":
    main("explanation")
