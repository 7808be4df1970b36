"""A fitted pipeline as files: ONNX to serve, a pickle for notebooks."""

import pickle

import numpy as np
from skl2onnx import to_onnx
from sklearn.pipeline import Pipeline

from features.definition import FEATURES, Matrix
from training.artifact import INPUT, OUTPUT, Artifact, GoldenRow

_TOLERANCE = 1e-6
_GOLDEN_ROWS = 16
# The graph's own name is a random one unless given, and would change the file's checksum.
_GRAPH_NAME = "titanic"


class ExportError(ValueError):
    """The exported graph does not answer as the pipeline does."""


def to_graph(pipeline: Pipeline) -> bytes:
    """The pipeline as a serialised ONNX graph with one output, the probabilities of both classes."""
    sample = np.zeros((1, len(FEATURES)), dtype=np.float32)
    graph = to_onnx(
        pipeline,
        sample,
        name=_GRAPH_NAME,
        options={id(pipeline): {"zipmap": False, "output_class_labels": False}},
        target_opset={"": 18, "ai.onnx.ml": 3},
    )
    graph.graph.input[0].name, before = INPUT, graph.graph.input[0].name
    for node in graph.graph.node:
        node.input[:] = [INPUT if name == before else name for name in node.input]
        node.output[:] = [OUTPUT if name == "probabilities" else name for name in node.output]
    del graph.graph.output[0]
    graph.graph.output[0].name = OUTPUT
    return bytes(graph.SerializeToString())


def to_pickle(pipeline: Pipeline) -> bytes:
    """The pipeline for people's notebooks; nothing in the running system reads it."""
    return pickle.dumps(pipeline, protocol=5)


def golden_rows(pipeline: Pipeline, matrix: Matrix) -> list[GoldenRow]:
    """Rows with the pipeline's own answers: real ones, then each feature missing in turn, then all of them."""
    places = np.linspace(0, len(matrix) - 1, _GOLDEN_ROWS).astype(int)
    rows = matrix[places].copy()
    for number, column in enumerate(range(len(FEATURES)), start=_GOLDEN_ROWS - len(FEATURES) - 1):
        rows[number, column] = np.nan
    rows[-1] = np.nan
    answers = pipeline.predict_proba(rows)[:, 1]
    return [
        GoldenRow([None if np.isnan(value) else float(value) for value in row], float(answer))
        for row, answer in zip(rows, answers, strict=True)
    ]


def verify(graph: bytes, pipeline: Pipeline, matrix: Matrix, *, golden: list[GoldenRow]) -> Artifact:
    """Load the graph as a server would and compare it with the pipeline on `matrix`; raises ExportError."""
    artifact = Artifact.load(graph, golden=golden)
    gap = float(np.abs(artifact.score(matrix) - pipeline.predict_proba(matrix)[:, 1]).max())
    if gap > _TOLERANCE:
        raise ExportError(f"the ONNX graph is off by {gap:.2g} on {len(matrix)} rows, more than {_TOLERANCE:g}")
    return artifact
