"""Parts of the OpenAPI schema that drf-spectacular cannot derive."""

import re
from inspect import cleandoc
from typing import Any

import msgspec
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import OpenApiParameter
from drf_standardized_errors.openapi import AutoSchema

from core.idempotency import HEADER, MAX_LENGTH, PATTERN

_Schema = dict[str, Any]
#: The header that makes a request safe to repeat.
KEY = OpenApiParameter(
    HEADER,
    {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH, "pattern": PATTERN},
    OpenApiParameter.HEADER,
    description="The same key and body within a day give the same answer: what it starts is started once.",
)


class Schema(AutoSchema):
    """Describe the parameters that a view reads by its `query`, and the header of a POST."""

    def get_override_parameters(self) -> list[Any]:
        if self.method == "GET":
            return [query] if (query := getattr(self.view, "query", None)) else []
        reads_key = getattr(self.view, "reads_key", None)
        return [KEY] if self.method == "POST" and reads_key and reads_key() else []


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """`Authorization: Token ...`, or `Bearer ...`."""

    target_class: Any = "core.tokens.CachedTokenAuthentication"
    name: Any = ["token", "bearer"]

    def get_security_definition(self, auto_schema: object) -> list[dict[str, Any]]:
        prefixed = {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "Token, a blank, the token",
        }
        return [prefixed, {"type": "http", "scheme": "bearer"}]

    def get_security_requirement(self, auto_schema: object) -> list[dict[str, list[str]]]:
        return [{name: []} for name in self.name]


class StructSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Describe an answer that is a msgspec.Struct, and the structs within it, by their own JSON schemas."""

    target_class: Any = msgspec.Struct
    match_subclasses = True

    def get_name(self, auto_schema: object, direction: object) -> str:
        return str(self.target.__name__)

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        _references, schemas = msgspec.json.schema_components([self.target], ref_template="#/components/schemas/{name}")
        for part in schemas.values():
            part["description"] = cleandoc(part.get("description", ""))
        schema: _Schema = schemas.pop(self.target.__name__)
        for name, part in schemas.items():
            component = ResolvedComponent(name, ResolvedComponent.SCHEMA, part, name)  # type: ignore[no-untyped-call]
            auto_schema.registry.register_on_missing(component)
        return schema


_ERROR = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": ["validation_error", "client_error", "server_error"]},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                    "attr": {"type": ["string", "null"], "description": "the field at fault"},
                },
                "required": ["code", "detail", "attr"],
            },
        },
    },
    "required": ["type", "errors"],
}
_ERROR_RESPONSES = {
    "400": "Wrong input, with each field named",
    "401": "No valid token",
    "403": "A token without the scope",
    "404": "Not found",
    "405": "Not a method of this address",
    "406": "Only JSON is served",
    "408": "The body did not arrive whole and in time",
    "409": "Right input at the wrong time",
    "413": "Too large",
    "415": "Another content type is needed",
    "429": "Too many requests: see Retry-After",
    "503": "A part is unavailable for the moment: see Retry-After",
}


def add_shared_parts(result: _Schema, **_: object) -> _Schema:
    """Add to every operation the error responses, and to every request body that no other field is known."""
    schemas = result["components"]["schemas"]
    schemas["Error"] = _ERROR
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for path in result["paths"].values():
        for operation in path.values():
            for status, text in _ERROR_RESPONSES.items():
                operation["responses"].setdefault(status, {"description": text, "content": content})
            body = operation.get("requestBody", {"content": {}})
            for kind in body["content"].values():
                named = kind["schema"].get("$ref", "").rpartition("/")[2]
                body["required"] = "required" in schemas.get(named, kind["schema"])
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "query":
                    _exclude_null_characters(parameter["schema"])
    for name, schema in schemas.items():
        if name.endswith("Request"):
            schema["additionalProperties"] = False
            for field in schema.get("properties", {}).values():
                _exclude_null_characters(field)
    return result


def _exclude_null_characters(schema: _Schema) -> None:
    """Say of a text what REST framework's and Django's fields reject: a NUL, and blanks alone where it has a length."""
    if schema.get("type") == "array":
        _exclude_null_characters(schema["items"])
    if schema.get("type") == "string" and not schema.keys() & {"format", "enum", "pattern"}:
        schema["pattern"] = r"^[^\x00]*[^\s\x00][^\x00]*$" if schema.get("minLength") else r"^[^\x00]*$"


def add_summaries(result: _Schema, **_: object) -> _Schema:
    """Give every operation a summary: the first sentence of its description, as far as it is of this method.

    A list's description is of GET and POST, as "Datasets, newest first; POST starts an ingest."
    """
    for path in result["paths"].values():
        for method, operation in path.items():
            sentence = re.split(r"[.:](?:\s|$)", operation.get("description", ""))[0]
            listed, _semicolon, posted = sentence.partition("; POST ")
            if method == "post" and posted:
                listed = f"{listed.partition(',')[0]}: {posted.partition(',')[0]}"
            operation.setdefault("summary", listed)
    return result
