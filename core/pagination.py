"""Cursor pages: stable while rows are added, and as quick on page one thousand as on page one."""

from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

from core.errors import Invalid


class NewestFirst(CursorPagination):
    """Newest first, by primary key; `page_size` up to 1,000."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 1000
    ordering = "-pk"

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        """The page that is asked for; raises NotFound for a cursor that is none of ours."""
        cursor = self.decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            try:
                queryset.model._meta.pk.to_python(cursor.position)
            except ValidationError as error:
                raise NotFound(self.invalid_cursor_message) from error
        return super().paginate_queryset(queryset, request, view)

    def get_page_size(self, request: Request) -> int | None:
        """As asked for; what is no number of rows is refused, not passed over."""
        asked = request.query_params.get("page_size")
        if asked is not None and not (asked.isascii() and asked.isdigit() and 0 < int(asked[:9]) <= self.max_page_size):
            message = _("Must be from 1 to %(most)s.") % {"most": self.max_page_size}
            raise Invalid({"page_size": [("invalid", message)]})
        return super().get_page_size(request)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """With the limits."""
        found: list[dict[str, Any]] = super().get_schema_operation_parameters(view)
        for parameter in found:
            if parameter["name"] == "page_size":
                parameter["schema"] |= {"minimum": 1, "maximum": self.max_page_size}
        return found

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """In the words of OpenAPI 3.1, which has no `nullable`."""
        page: dict[str, Any] = super().get_paginated_response_schema(schema)
        link = {"type": ["string", "null"], "format": "uri"}
        for name, cursor in (("next", "cD00ODY%3D"), ("previous", "cj0xJnA9NDg3")):
            example = f"https://titanic.example.org/api/v1/things/?{self.cursor_query_param}={cursor}"
            page["properties"][name] = {**link, "examples": [example]}
        return page


class InOrder(NewestFirst):
    """As they were written."""

    ordering = "pk"
