"""Requests of the Open Inference Protocol: passengers as tensors, one for each field, or each name of the old form."""

import msgspec
from django.utils.translation import gettext as _

from core.errors import Invalid
from features.definition import FEATURES
from ingestion.json_validation import Row
from ingestion.schema import FIELDS
from predictions import optional_legacy, services

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "BOOL": (bool,),
    "BYTES": (str,),
    **{f"{sign}INT{bits}": (int,) for sign in ("", "U") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": (int, float) for bits in (16, 32, 64)},
}


class InputTensor(msgspec.Struct, forbid_unknown_fields=True):
    """The values of one field for all passengers, flat or nested; null stands for unknown in each type."""

    name: str
    shape: list[int]
    datatype: str
    data: object
    parameters: dict[str, object] = {}

    def values(self) -> list[object]:
        """Flatten the data, nested however deep, in order."""
        values, stack = [], [self.data]
        while stack:
            item = stack.pop()
            if isinstance(item, list):
                stack += reversed(item)
            else:
                values.append(item)
        return values

    def find_error(self, values: list[object]) -> str | None:
        """Describe what is wrong with the tensor by itself: its datatype, its shape or one of its values."""
        types = _PYTHON_TYPES.get(self.datatype)
        if types is None:
            return _("There is no datatype “%(type)s”.") % {"type": self.datatype[:20]}
        if self.shape not in ([len(values)], [len(values), 1]):
            message = _("The shape must be [%(count)s] or [%(count)s, 1], as many as there are elements.")
            return message % {"count": len(values)}
        # In Python a bool is an int, in the protocol it is not.
        is_bool = self.datatype == "BOOL"
        if all(v is None or (isinstance(v, types) and isinstance(v, bool) == is_bool) for v in values):
            return None
        return _("Each element must be %(type)s, or null.") % {"type": self.datatype}


class RequestedOutput(msgspec.Struct, forbid_unknown_fields=True):
    """An output that the client wants."""

    name: str
    parameters: dict[str, object] = {}


class InferenceRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of an inference request."""

    inputs: list[InputTensor]
    id: str | None = None
    parameters: dict[str, object] = {}
    outputs: list[RequestedOutput] | None = None

    @classmethod
    def parse(cls, body: object) -> "InferenceRequest":
        """Read a decoded body; raises Invalid."""
        try:
            return msgspec.convert(body, cls)
        except msgspec.ValidationError as error:
            raise Invalid({"body": [("invalid", str(error))]}) from error

    def rows(self) -> list[Row]:
        """Check the passengers by the contract; raises Invalid with the tensor and index of each error, TooLarge."""
        columns = self._columns()
        passengers = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        check = optional_legacy.check_row if optional_legacy.is_legacy(columns) else services.check_row
        return services.check_batch(passengers, check=check, field="inputs", name_error="{name}[{index}]".format)

    def _columns(self) -> dict[str, list[object]]:
        """Flatten the tensors to columns of equal length; raises Invalid with each tensor that is wrong."""
        errors: dict[str, list[tuple[str, str]]] = {}
        columns: dict[str, list[object]] = {}
        for tensor in self.inputs:
            if tensor.name in columns:
                errors[tensor.name] = [("doubled", _("This tensor is given twice."))]
            columns[tensor.name] = tensor.values()
            if message := tensor.find_error(columns[tensor.name]):
                errors[tensor.name] = [("invalid", message)]
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
