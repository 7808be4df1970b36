"""The contract as OpenAPI, derived from the declaration that validates."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import product

from ingestion.contract import CONTROL_RANGES, MARKERS, MAX_EXACT, Field
from ingestion.passenger import EXAMPLE, RULES, PassengerFields
from ingestion.schema import FIELDS

Schema = dict[str, object]

# The longest number of that size, written out.
_NUMBER_LENGTH = 24
#: A number where text is expected.
NUMBER: Schema = {"type": "number", "minimum": -MAX_EXACT, "maximum": MAX_EXACT, "description": "read as text"}

_WORDS = "other words for a choice, or for unknown; case does not matter"


def passenger_schema(more: Mapping[Field, str]) -> Schema:
    """Return the JSON schema of one passenger as the API takes it, with more fields and their descriptions."""
    columns = zip(FIELDS, PassengerFields._meta.local_fields, strict=True)
    described = {field: f"{column.verbose_name}. {column.help_text}" for field, column in columns}
    properties = {}
    for field, description in {**described, **more}.items():
        value: Schema
        if field.choices:
            value = {"enum": list(field.choices), "type": "integer" if field.is_integer else "string"}
        elif field.is_numeric:
            limits = {"minimum": field.minimum, "maximum": field.maximum}
            value = {"type": "integer" if field.is_integer else "number"}
            value |= {name: limit for name, limit in limits.items() if limit is not None}
        else:
            # Blanks at the ends are stripped before the rest is counted.
            value = {"type": "string", "pattern": rf"^\s*[^{CONTROL_RANGES}]{{0,{field.max_length or ''}}}\s*$"}
        more_kinds: list[Schema] = [] if field.is_required else [{"type": "null"}]
        unknown = [] if field.is_required else ["", *sorted(MARKERS | field.own_markers)]
        words = [*field.by_spelling, *unknown]
        if words and field.kind != "text":
            more_kinds.append({**_one_of(words), "description": _WORDS})
        if field.kind == "text" and (field.max_length is None or field.max_length >= _NUMBER_LENGTH):
            more_kinds.append(NUMBER)
        if more_kinds:
            value = {"anyOf": [value, *more_kinds]}
        if not field.is_required:
            value["default"] = field.default
        properties[field.name] = {**value, "description": description}
    return {
        "type": "object",
        "properties": properties,
        "required": [field.name for field in FIELDS if field.is_required],
        "additionalProperties": False,
        "allOf": [{"not": pair} for pair in _contradictions()],
        "examples": [EXAMPLE],
    }


def batch_schema(passenger: Schema, *, most: int) -> Schema:
    """Return the JSON schema of a batch of at most `most` passengers."""
    instances = {"type": "array", "items": passenger, "maxItems": most}
    return {
        "type": "object",
        "properties": {"instances": instances},
        "required": ["instances"],
        "additionalProperties": False,
    }


def _contradictions() -> Iterator[Schema]:
    """Find pairs of choices that a rule rejects, whatever else is known."""
    fields = {field.name: field for field in FIELDS if field.choices}
    for rule in RULES:
        read = [name for name in rule.reads if name in fields]
        for values in product(*(fields[name].choices for name in read)):
            named = dict(zip(read, values, strict=True))
            if rule.severity == "error" and rule.check({**dict.fromkeys(rule.reads), **named}):
                meant = {
                    name: [word for word, meaning in fields[name].by_spelling.items() if meaning == value]
                    for name, value in named.items()
                }
                written = {name: {"anyOf": [{"const": named[name]}, _one_of(words)]} for name, words in meant.items()}
                yield {"properties": written, "required": read}


def _one_of(words: Iterable[str]) -> Schema:
    """Describe a text that is one of these words; Python escapes more characters than other engines allow."""
    pattern = "|".join(re.sub(r"[\\.?()]", r"\\\g<0>", word) for word in words)
    return {"type": "string", "pattern": rf"^\s*({pattern})\s*$"}
