"""Tensors of the Open Inference Protocol, in JSON or in the bytes that follow it (the binary tensor extension)."""

import re
from itertools import islice
from math import isnan
from typing import cast

import msgspec
import numpy as np
from django.utils.translation import gettext as _

from core.errors import Invalid
from core.parsers import decode_json
from features.definition import FEATURES
from ingestion.contract import Row
from ingestion.schema import CONTRACT, FIELDS
from predictions import optional_legacy, services

#: The header that tells where a body's JSON ends and the bytes of its tensors begin.
JSON_LENGTH = "Inference-Header-Content-Length"
# The Python types of each datatype's elements, and its numpy dtype in bytes.
_DATATYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "BOOL": ((bool,), "?"),
    "BYTES": ((str,), ""),
    **{f"INT{8 * size}": ((int,), f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": ((int,), f"<u{size}") for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": ((int, float), f"<f{size}") for size in (2, 4, 8)},
}
_LENGTH = re.compile(r"\d{1,9}", re.ASCII)
# The bytes before each element of BYTES, which say how many it has.
_PREFIX = 4

Parameters = dict[str, object] | None


class InputTensor(msgspec.Struct):
    """The values of one field for all passengers, flat or nested; null and NaN stand for unknown.

    A single one may be a matrix of shape (n, fields), with the fields in the order of the model's metadata.
    """

    name: str
    shape: list[int]
    datatype: str
    data: object = msgspec.UNSET
    parameters: Parameters = None

    def take_bytes(self, rest: memoryview) -> memoryview:
        """Read the data from the bytes after the JSON where it is there; returns what follows. Raises Invalid."""
        size = (self.parameters or {}).get("binary_data_size")
        if size is None:
            return rest
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(rest):
            message = _("There are not as many bytes after the JSON (%(header)s) as binary_data_size says.")
            raise Invalid({self.name: [("binary", message % {"header": JSON_LENGTH})]})
        try:
            self.data = _from_bytes(rest[:size], self.datatype)
        except ValueError as error:
            message = _("The bytes cannot be read as %(type)s.") % {"type": self.datatype[:20]}
            raise Invalid({self.name: [("binary", message)]}) from error
        return rest[size:]

    def values(self) -> list[object]:
        """Flatten the data, nested however deep, in order; NaN is None."""
        values, stack = [], [self.data]
        while stack:
            item = stack.pop()
            if isinstance(item, list):
                stack += reversed(item)
            else:
                values.append(None if isinstance(item, float) and isnan(item) else item)
        return values

    def find_error(self, values: list[object], *, width: int) -> str | None:
        """Describe what is wrong with the tensor by itself: its datatype, its shape or one of its values."""
        if self.data is msgspec.UNSET:
            return _("It has no data.")
        if self.datatype not in _DATATYPES:
            return _("There is no datatype “%(type)s”.") % {"type": self.datatype[:20]}
        if self.shape not in ([len(values)], [len(values) // width, width]) or len(values) % width:
            message = _("The shape must be [%(count)s] or [%(count)s, 1], as many as there are elements.")
            matrix = _("A matrix of all inputs has the shape [n, %(width)s].") % {"width": len(_matrix_fields())}
            return f"{message % {'count': len(values)}} {matrix if _matrix_fields() else ''}".strip()
        types, _dtype = _DATATYPES[self.datatype]
        # In Python a bool is an int, in the protocol it is not.
        is_bool = self.datatype == "BOOL"
        if all(v is None or (isinstance(v, types) and isinstance(v, bool) == is_bool) for v in values):
            return None
        return _("Each element must be %(type)s, or null.") % {"type": self.datatype}


class RequestedOutput(msgspec.Struct):
    """An output that the client wants."""

    name: str
    parameters: Parameters = None


class InferenceRequest(msgspec.Struct):
    """The body of an inference request; other members, such as `model_name`, are passed over."""

    inputs: list[InputTensor]
    id: str | None = None
    parameters: Parameters = None
    outputs: list[RequestedOutput] | None = None

    @classmethod
    def parse(cls, body: bytes, *, json_length: str | None) -> "InferenceRequest":
        """Read a body, whose JSON may be followed by the bytes of tensors; raises Invalid, ParseError."""
        length = len(body)
        if json_length is not None:
            length = int(json_length) if _LENGTH.fullmatch(json_length) else -1
        if not 0 <= length <= len(body):
            raise Invalid({JSON_LENGTH: [("invalid", _("Must be the number of the bytes of the body's JSON."))]})
        try:
            request = msgspec.convert(decode_json(body[:length], is_nan_unknown=True), cls)
        except msgspec.ValidationError as error:
            raise Invalid({"body": [("invalid", str(error))]}) from error
        rest = memoryview(body)[length:]
        for tensor in request.inputs:
            rest = tensor.take_bytes(rest)
        if rest:
            message = _("%(count)s bytes after the JSON belong to no tensor.") % {"count": len(rest)}
            raise Invalid({"body": [("binary", message)]})
        return request

    def rows(self) -> list[Row]:
        """Check the passengers by the contract; raises Invalid with the tensor and index of each error, TooLarge."""
        columns = self._columns()
        # One too many is enough to be refused.
        tuples = islice(zip(*columns.values(), strict=True), services.MAX_BATCH + 1)
        passengers = [dict(zip(columns, values, strict=True)) for values in tuples]
        check = optional_legacy.check_all if optional_legacy.is_legacy(columns) else CONTRACT.check_all
        return services.check_rows(passengers, check=check, field="inputs", name_error="{name}[{index}]".format)

    def is_binary(self, output: str) -> bool:
        """Tell whether the client wants an output as bytes."""
        parameters = next((o.parameters for o in self.outputs or () if o.name == output), None) or {}
        return (parameters.get("binary_data") or (self.parameters or {}).get("binary_data_output")) is True

    def _columns(self) -> dict[str, list[object]]:
        """Flatten the tensors to columns of equal length; raises Invalid with each tensor that is wrong."""
        errors: dict[str, list[tuple[str, str]]] = {}
        columns: dict[str, list[object]] = {}
        fields = _matrix_fields()
        is_matrix = len(self.inputs) == 1 and len(fields) > 1 and self.inputs[0].shape[1:] == [len(fields)]
        for tensor in self.inputs:
            if tensor.name in columns:
                errors[tensor.name] = [("doubled", _("This tensor is given twice."))]
            columns[tensor.name] = tensor.values()
            if message := tensor.find_error(columns[tensor.name], width=len(fields) if is_matrix else 1):
                errors[tensor.name] = [("invalid", message)]
        if is_matrix and not errors:
            (values,) = columns.values()
            columns = {name: values[index :: len(fields)] for index, name in enumerate(fields)}
        lengths = {len(values) for values in columns.values()}
        if not errors and (len(lengths) != 1 or not max(lengths)):
            message = _("All tensors must have as many elements, and there must be one.")
            errors["inputs"] = [("invalid", message)]
        if errors:
            raise Invalid(errors)
        return columns


class TensorMetadata(msgspec.Struct):
    """A tensor as the model's metadata describes it."""

    name: str
    datatype: str
    shape: tuple[int] = (-1,)


def input_metadata() -> list[TensorMetadata]:
    """List the tensors that a client sends: the features, or the fields where features cannot be translated back."""
    if optional_legacy.legacy_form is not None:
        return [TensorMetadata(name, "FP32") for name in FEATURES]
    return [
        TensorMetadata(field.name, "INT64" if field.is_integer else "FP64" if field.is_numeric else "BYTES")
        for field in FIELDS
    ]


def to_bytes(values: list[object], datatype: str) -> bytes:
    """Write an output's values as the binary tensor extension has them."""
    if datatype == "BYTES":
        texts = [str(value).encode() for value in values]
        return b"".join(len(text).to_bytes(_PREFIX, "little") + text for text in texts)
    return np.array(values, dtype=_DATATYPES[datatype][1]).tobytes()


def _from_bytes(raw: memoryview, datatype: str) -> list[object]:
    """Read a tensor's values; raises ValueError. A datatype that there is not has none."""
    if datatype not in _DATATYPES:
        return []
    if datatype != "BYTES":
        return cast("list[object]", np.frombuffer(raw, _DATATYPES[datatype][1]).tolist())
    values: list[object] = []
    start = 0
    while start < len(raw):
        end = start + _PREFIX + int.from_bytes(raw[start : start + _PREFIX], "little")
        if end > len(raw):
            message = "an element ends after the tensor"
            raise ValueError(message)
        values.append(str(raw[start + _PREFIX : end], "utf-8"))
        start = end
    return values


def _matrix_fields() -> list[str]:
    """Name the columns of a matrix: all inputs, where they are numbers."""
    inputs = input_metadata()
    return [] if any(tensor.datatype == "BYTES" for tensor in inputs) else [tensor.name for tensor in inputs]
