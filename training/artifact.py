"""A model file as it is served: checked before it may score."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from core.messages import Message as _
from features.definition import FEATURES, Matrix
from training.training_data import GoldenRow

INPUT, OUTPUT = "features", "probabilities"
LARGEST_BYTES = 64 * 1024**2
_TOLERANCE = 1e-6
_DOMAINS = frozenset({"", "ai.onnx.ml"})
#: What our exporter writes; anything else in a file was not written by it.
_OPERATORS = frozenset(
    {
        "Add", "ArrayFeatureExtractor", "Cast", "Concat", "Div", "Exp", "Gather", "Imputer", "LinearClassifier", "Mul",
        "Normalizer", "OneHotEncoder", "Reshape", "Scaler", "Sub", "Sum", "TreeEnsembleClassifier",
    }
)  # fmt: skip
# onnxruntime's errors share no base but Exception.
_LOADING_ERRORS = (
    errors.Fail,
    errors.InvalidArgument,
    errors.InvalidGraph,
    errors.InvalidProtobuf,
    errors.NotImplemented,
)


class ArtifactError(ValueError):
    """A model file that must not serve; the text says why."""


@dataclass(frozen=True)
class Artifact:
    """A loaded graph."""

    session: ort.InferenceSession
    sha256: str

    @classmethod
    def load(cls, data: bytes, *, golden: Sequence[GoldenRow], sha256: str | None = None) -> Self:
        """Check the file (size, sha256, operators, no outside data, golden rows) and load it; raises ArtifactError."""
        if len(data) > LARGEST_BYTES:
            message = _("the file has %(bytes)s bytes, more than %(most)s")
            raise ArtifactError(message % {"bytes": len(data), "most": LARGEST_BYTES})
        actual_sha256 = hashlib.sha256(data).hexdigest()
        if sha256 is not None and actual_sha256 != sha256:
            message = _("the file's sha256 is %(actual)s…, the registry says %(expected)s…")
            raise ArtifactError(message % {"actual": actual_sha256[:12], "expected": sha256[:12]})
        _check_graph(data)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except _LOADING_ERRORS as error:
            raise ArtifactError(_("onnxruntime refuses the file: %(reason)s") % {"reason": error}) from error
        artifact = cls(session, actual_sha256)
        artifact._check_golden_rows(golden)
        return artifact

    def score(self, matrix: Matrix) -> NDArray[np.float64]:
        """Score features of shape (n, features): the label's probability, shape (n,), alike alone and in a batch."""
        # Of one row alone onnxruntime adds a linear model's products in another order: the last bits would differ.
        rows = matrix.repeat(2, axis=0) if len(matrix) == 1 else matrix
        both_classes: Any = self.session.run([OUTPUT], {INPUT: rows})[0]
        return np.asarray(both_classes[: len(matrix), 1], dtype=np.float64)

    def _check_golden_rows(self, golden: Sequence[GoldenRow]) -> None:
        rows = np.array([row.features for row in golden], dtype=np.float32).reshape(-1, len(FEATURES))
        for rows_at_once in (rows, rows[:1]):
            probabilities = self.score(rows_at_once)
            expected = np.array([row.probability for row in golden[: len(rows_at_once)]])
            # Written so that a NaN among the probabilities fails too.
            if not (np.abs(probabilities - expected) <= _TOLERANCE).all():
                raise ArtifactError(_("the file scores the golden rows otherwise than the model did"))


def _check_graph(data: bytes) -> None:
    try:
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise ArtifactError(_("the file is no ONNX graph: %(reason)s") % {"reason": error}) from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ArtifactError(_("the file refers to data outside itself"))
    if model.functions or any(node.domain not in _DOMAINS for node in model.graph.node):
        raise ArtifactError(_("the file defines operators of its own"))
    unknown = {node.op_type for node in model.graph.node} - _OPERATORS
    if unknown:
        message = _("the file uses operators that no exported model has: %(operators)s")
        raise ArtifactError(message % {"operators": ", ".join(sorted(unknown))})
    if [item.name for item in model.graph.input] != [INPUT] or [item.name for item in model.graph.output] != [OUTPUT]:
        message = _("the file's input and output are not called %(input)s and %(output)s")
        raise ArtifactError(message % {"input": INPUT, "output": OUTPUT})
