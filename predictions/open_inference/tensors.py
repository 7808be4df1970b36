"""Passengers as tensors, as the Open Inference Protocol v2 has them: one tensor for a field or a feature, in JSON."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from django.utils.translation import gettext as _

from core.errors import Invalid, TooLarge
from features.definition import FEATURES
from ingestion import contract, passenger
from ingestion.json_validation import Row
from ingestion.passenger import FIELDS
from ingestion.validation_messages import by_field
from predictions import optional_legacy

_TYPES: dict[str, tuple[type, ...]] = {
    "BOOL": (bool,),
    "BYTES": (str,),
    **{f"{sign}INT{bits}": (int,) for sign in ("", "U") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": (int, float) for bits in (16, 32, 64)},
}
_Errors = dict[str, list[tuple[str, str]]]


class Tensor(msgspec.Struct, forbid_unknown_fields=True):
    """A tensor of the request."""

    name: str
    shape: list[int]
    datatype: str
    data: Any
    parameters: dict[str, Any] = {}


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] = {}


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """An inference request."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] = {}
    outputs: list[Wanted] | None = None

    @classmethod
    def of(cls, body: Any) -> "Request":
        """The request in a decoded body; raises Invalid."""
        try:
            return msgspec.convert(body, cls)
        except msgspec.ValidationError as error:
            raise Invalid({"body": [("invalid", str(error))]}) from error

    def rows(self, *, most: int) -> list[Row]:
        """The passengers, checked by the contract; raises Invalid, with each tensor and place named, and TooLarge."""
        columns = self._columns(most=most)
        raws: list[Mapping[str, Any]] = [
            dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
        ]
        if optional_legacy.is_legacy(columns):
            return _judged(_of_features, raws)
        rows = passenger.READER.read(raws)
        return _judged(_of_fields, raws) if rows is None else rows

    def _columns(self, *, most: int) -> dict[str, list[Any]]:
        errors: _Errors = {}
        columns: dict[str, list[Any]] = {}
        for tensor in self.inputs:
            if tensor.name in columns:
                errors[tensor.name] = [("doubled", _("This tensor is given twice."))]
            columns[tensor.name] = _flat(tensor.data)
            if said := _objection(tensor, columns[tensor.name]):
                errors[tensor.name] = [("invalid", said)]
        if errors:
            raise Invalid(errors)
        counts = {len(values) for values in columns.values()}
        if len(counts) != 1 or not max(counts):
            raise Invalid(
                {"inputs": [("invalid", _("All tensors must have as many elements, and there must be one."))]}
            )
        if max(counts) > most:
            message = _("At most %(most)s passengers at a time; for more, send a CSV file to scoring-jobs/.")
            raise TooLarge(message % {"most": most}, field="inputs")
        return columns


def inputs() -> list[dict[str, Any]]:
    """List the tensors that a client sends: the features, or the fields where features cannot be translated back."""
    if optional_legacy.legacy_form is not None:
        return [{"name": name, "datatype": "FP32", "shape": [-1]} for name in FEATURES]
    return [
        {
            "name": field.name,
            "datatype": "INT64" if field.is_integer else "FP64" if field.is_numeric else "BYTES",
            "shape": [-1],
        }
        for field in FIELDS
    ]


def _flat(data: Any) -> list[Any]:
    """The data in one line, whether it came nested or not."""
    found, waiting = [], [data]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting += reversed(item)
        else:
            found.append(item)
    return found


def _objection(tensor: Tensor, values: Sequence[Any]) -> str | None:
    """What is wrong with a tensor by itself; null stands for unknown in each type."""
    types = _TYPES.get(tensor.datatype)
    if types is None:
        return _("There is no datatype “%(type)s”.") % {"type": tensor.datatype[:20]}
    if tensor.shape not in ([len(values)], [len(values), 1]):
        message = _("The shape must be [%(count)s] or [%(count)s, 1], as many as there are elements.")
        return message % {"count": len(values)}
    is_bool = tensor.datatype == "BOOL"
    wrong = next(
        (v for v in values if v is not None and not (isinstance(v, types) and isinstance(v, bool) == is_bool)), None
    )
    return None if wrong is None else _("Each element must be %(type)s, or null.") % {"type": tensor.datatype}


def _judged(read: Any, raws: Iterable[Mapping[str, Any]]) -> list[Row]:
    rows: list[Row] = []
    errors: _Errors = {}
    for place, raw in enumerate(raws):
        values, refusals = read(raw)
        rows.append(tuple(values.values()))
        errors.update({f"{name}[{place}]": said for name, said in by_field(refusals).items()})
    if errors:
        raise Invalid(errors)
    return rows


def _of_fields(raw: Mapping[str, Any]) -> Any:
    return contract.check_row(FIELDS, raw, rules=passenger.RULES)


def _of_features(raw: Mapping[str, Any]) -> Any:
    texts = {name: "" if value is None else str(int(value) if isinstance(value, bool) else value)
             for name, value in raw.items()}  # fmt: skip
    unknown = contract.joint_violation(
        sorted(texts.keys() - set(FEATURES)), "unknown_field", contract.gettext_noop("There is no such field.")
    )
    values, violations = optional_legacy.check_row(texts)
    return values, [*unknown, *violations]
