"""The contract as OpenAPI: what the schema promises is read off the same declaration that refuses."""

from typing import Any

from ingestion.contract import Field
from ingestion.passenger import EXAMPLE, FIELDS, PassengerFields

_BLANK = {"type": "string", "pattern": r"^\s*$", "description": "blank means unknown"}


def passenger_schema() -> dict[str, Any]:
    """The JSON schema of one passenger as the API takes it."""
    return {
        "type": "object",
        "properties": {field.name: _field_schema(field) for field in FIELDS},
        "required": [field.name for field in FIELDS if field.is_required],
        "additionalProperties": False,
        "examples": [EXAMPLE],
    }


def batch_schema(*, most: int) -> dict[str, Any]:
    """The JSON schema of many."""
    instances = {"type": "array", "items": passenger_schema(), "maxItems": most}
    return {
        "type": "object",
        "properties": {"instances": instances},
        "required": ["instances"],
        "additionalProperties": False,
    }


def _field_schema(field: Field) -> dict[str, Any]:
    column: Any = PassengerFields._meta.get_field(field.name)
    described = {"description": f"{column.verbose_name}. {column.help_text}"}
    if field.is_required:
        return {**_value_schema(field), **described}
    return {"anyOf": [_value_schema(field), {"type": "null"}, _BLANK], "default": field.default, **described}


def _value_schema(field: Field) -> dict[str, Any]:
    if field.choices:
        return {"enum": list(field.choices), "type": "integer" if field.is_integer else "string"}
    if field.is_numeric:
        kind = "integer" if field.is_integer else "number"
        return {"type": kind, "minimum": field.minimum, "maximum": field.maximum}
    return {"type": "string", "maxLength": field.max_length}
