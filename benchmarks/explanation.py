"""One explanation beside the rows that it has to score, through ONNX alone.

python -m benchmarks.explanation
"""

from benchmarks.features import seconds


def measure() -> dict[str, float]:
    """Nine fields, 512 coalitions, 32 passengers to compare with."""
    import numpy as np

    from benchmarks.search import examples
    from features.definition import FEATURES, INPUTS
    from ingestion.compiled import Row
    from ingestion.passenger import EXAMPLE, READER
    from predictions.explanation import Explainer
    from training import estimators, export
    from training.artifact import Artifact
    from training.services import BACKGROUND_ROWS

    learned = examples().learned
    pipeline = estimators.build("random_forest", seed=0).fit(learned.matrix, learned.labels)
    artifact = Artifact.load(export.to_graph(pipeline), golden=export.golden_rows(pipeline, learned.matrix))
    rows: list[Row] | None = READER.read([EXAMPLE])
    assert rows is not None
    older = [{**EXAMPLE, "age": 20.0 + number} for number in range(BACKGROUND_ROWS)]
    explainer = Explainer(artifact, READER.read(older) or [])
    count = 2 ** len(INPUTS) * BACKGROUND_ROWS
    matrix = np.resize(learned.matrix, (count, len(FEATURES)))
    one, alone = seconds(lambda: explainer.shares(rows), lambda: artifact.score(matrix))
    return {"one explanation, ms": one * 1e3, f"explanation / {count} rows through ONNX": one / alone}


if __name__ == "__main__":
    from benchmarks.serving import setup

    setup()
    for name, figure in measure().items():
        print(f"{name:42}{figure:10,.2f}")
