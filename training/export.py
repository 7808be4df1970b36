"""A fitted pipeline as files: ONNX to serve, a pickle for notebooks."""

import pickle
from typing import Any

import numpy as np
import onnx
import onnx.utils
from skl2onnx import to_onnx, update_registered_converter
from skl2onnx._supported_operators import sklearn_operator_name_map
from skl2onnx.common._registration import get_converter, get_shape_calculator
from skl2onnx.common.data_types import FloatTensorType
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier

from core.messages import Message
from features.definition import FEATURES, Matrix
from training.artifact import INPUT, OUTPUT, Artifact
from training.training_data import GoldenRow

_TOLERANCE = 1e-6
_REAL_GOLDEN_ROWS = 4
# The graph's own name is a random one unless given, and would change the file's checksum.
_GRAPH_NAME = "classifier"
_OPSETS = {"": 18, "ai.onnx.ml": 3}
_ROWS_TO_VERIFY = 20_000
_ROWS_WITHOUT_A_FEATURE = 500


class ExportError(ValueError):
    """The exported graph scores otherwise than the pipeline."""


def to_graph(pipeline: BaseEstimator) -> bytes:
    """Serialise the pipeline as an ONNX graph with one output, the probabilities of both classes: shape (n, 2).

    The same pipeline gives the same bytes in every process.
    """
    whole = to_onnx(
        pipeline,
        name=_GRAPH_NAME,
        initial_types=[(INPUT, FloatTensorType([None, len(FEATURES)]))],
        options={id(pipeline): {"zipmap": False}},
        target_opset=_OPSETS,
    )
    # Without what only the labels need.
    graph = onnx.utils.Extractor(whole).extract_model([INPUT], [OUTPUT])
    # The converter's order of these differs from process to process.
    del graph.opset_import[:]
    graph.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in _OPSETS.items())
    return bytes(graph.SerializeToString(deterministic=True))


def to_pickle(pipeline: BaseEstimator) -> bytes:
    """Pickle the pipeline for notebooks; nothing in the running system reads it."""
    return pickle.dumps(pipeline, protocol=5)


def golden_rows(pipeline: BaseEstimator, matrix: Matrix) -> list[GoldenRow]:
    """Take rows of `matrix`, shape (n, features), with the pipeline's own probabilities.

    Four rows as they are, one with each feature missing in turn, and one with all missing.
    """
    width = matrix.shape[1]
    places = np.linspace(0, len(matrix) - 1, _REAL_GOLDEN_ROWS + width + 1).astype(int)
    rows = matrix[places].copy()
    for column in range(width):
        rows[_REAL_GOLDEN_ROWS + column, column] = np.nan
    rows[-1] = np.nan
    probabilities = pipeline.predict_proba(rows)[:, 1]
    return [
        GoldenRow([None if np.isnan(value) else float(value) for value in row], float(probability))
        for row, probability in zip(rows, probabilities, strict=True)
    ]


def verify(graph: bytes, pipeline: BaseEstimator, matrix: Matrix, *, golden: list[GoldenRow]) -> None:
    """Load the graph as a server would and compare it with the pipeline; raises ExportError.

    On rows of `matrix`, shape (n, features), and on some of them with every feature missing in turn.
    """
    artifact = Artifact.load(graph, golden=golden)
    with_missing = np.repeat(matrix[None, :_ROWS_WITHOUT_A_FEATURE], matrix.shape[1], axis=0)
    for column in range(matrix.shape[1]):
        with_missing[column, :, column] = np.nan
    matrix = np.concatenate([matrix[:_ROWS_TO_VERIFY], *with_missing])
    gap = float(np.abs(artifact.score(matrix) - pipeline.predict_proba(matrix)[:, 1]).max())
    if gap > _TOLERANCE:
        message = Message("the ONNX graph is off by %(gap)s on %(rows)s rows, more than %(most)s")
        raise ExportError(message % {"gap": gap, "rows": len(matrix), "most": _TOLERANCE})


class _PlainNumbers:
    """A converter's container that writes booleans as the integers that ONNX wants: protobuf 7 refuses them."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, *arguments: Any, **attributes: Any) -> Any:
        plain = {
            name: [int(item) if isinstance(item, bool | np.bool_) else item for item in value]
            if isinstance(value, list)
            else value
            for name, value in attributes.items()
        }
        return self._container.add_node(*arguments, **plain)


_ALIAS = sklearn_operator_name_map[HistGradientBoostingClassifier]
_convert = get_converter(_ALIAS)
update_registered_converter(
    HistGradientBoostingClassifier,
    _ALIAS,
    get_shape_calculator(_ALIAS),
    lambda scope, operator, container: _convert(scope, operator, _PlainNumbers(container)),
    overwrite=True,
    options={name: [True, False] for name in ("zipmap", "output_class_labels", "nocl", "raw_scores")},
)
