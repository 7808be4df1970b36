"""The contract as OpenAPI: what the schema promises is read off the same declaration that refuses."""

from collections.abc import Iterator
from itertools import product
from typing import Any

from ingestion.contract import CONTROL, Field
from ingestion.passenger import EXAMPLE, FIELDS, RULES, PassengerFields

_SURROGATES = r"\ud800-\udfff"
# JSON has no surrogates.
_PLAIN = CONTROL.pattern.replace(_SURROGATES, "").replace("[", "[^", 1)
_BLANK = {"type": "string", "pattern": r"^\s*$", "description": "blank means unknown"}


def passenger_schema() -> dict[str, Any]:
    """The JSON schema of one passenger as the API takes it."""
    return {
        "type": "object",
        "properties": {field.name: _field_schema(field) for field in FIELDS},
        "required": [field.name for field in FIELDS if field.is_required],
        "additionalProperties": False,
        "allOf": [{"not": pair} for pair in _contradictions()],
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


def _contradictions() -> Iterator[dict[str, Any]]:
    """Pairs of choices that a rule refuses, whatever else is known."""
    choices = {field.name: field.choices for field in FIELDS if field.choices}
    for rule in RULES:
        read = [name for name in rule.reads if name in choices]
        for values in product(*(choices[name] for name in read)):
            named = dict(zip(read, values, strict=True))
            if rule.severity == "error" and rule.check({**dict.fromkeys(rule.reads), **named}):
                yield {"properties": {name: {"const": value} for name, value in named.items()}, "required": read}


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
    # Blanks at the ends are cut off before the rest is counted.
    return {"type": "string", "pattern": rf"^\s*{_PLAIN}{{0,{field.max_length}}}\s*$"}
