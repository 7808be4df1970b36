"""Pages of long lists by key: stable while rows are added, as quick on the last page as on the first, and no COUNT."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.views import APIView

from core.errors import Invalid

SIZE = 50

T = TypeVar("T")
M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Page(Generic[T]):
    """Rows for an HTML page, and the query strings that lead to the first page and to the next one."""

    rows: Sequence[T]
    is_later_page: bool
    query_first: str
    next_page: str


def page_of(
    rows: Sequence[T], query: QueryDict, *, key: Callable[[T], object], parameter: str = "before", size: int = SIZE
) -> Page[T]:
    """Cut a page of `size` rows; one row more tells that another page follows, from the `key` of the last row shown."""
    first, following = query.copy(), query.copy()
    first.pop(parameter, None)
    if len(rows) > size:
        following[parameter] = str(key(rows[size - 1]))
    return Page(rows[:size], first != query, first.urlencode(), following.urlencode() if len(rows) > size else "")


def page(
    queryset: QuerySet[M],
    request: HttpRequest,
    *,
    parameter: str = "before",
    is_ascending: bool = False,
    size: int = SIZE,
) -> Page[M]:
    """Return the rows beyond the primary key in the query, newest first unless ascending.

    A key that cannot be read means the first page.
    """
    query = request.GET.copy()
    rows = queryset.order_by("pk" if is_ascending else "-pk")
    if start := query.get(parameter):
        try:
            rows = rows.filter(**{"pk__gt" if is_ascending else "pk__lt": queryset.model._meta.pk.to_python(start)})
        except ValidationError:
            del query[parameter]
    return page_of(list(rows[: size + 1]), query, key=lambda row: row.pk, parameter=parameter, size=size)


def page_by_name(queryset: QuerySet[M], request: HttpRequest, *, parameter: str, size: int = 25) -> Page[M]:
    """Return the rows whose name comes after that in the query, by name; a name that cannot be means the first page."""
    start = request.GET.get(parameter, "")
    rows = queryset.order_by("name")
    rows = rows if "\0" in start else rows.filter(name__gt=start)
    return page_of(list(rows[: size + 1]), request.GET, key=operator.attrgetter("name"), parameter=parameter, size=size)


class NewestFirst(CursorPagination):
    """Newest first, by primary key; `page_size` up to 1,000."""

    page_size = SIZE
    page_size_query_param = "page_size"
    max_page_size = 1000
    ordering = "-pk"

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any] | None:
        """Return the requested page; raises NotFound for a cursor that is none of ours."""
        cursor = self.decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            try:
                queryset.model._meta.pk.to_python(cursor.position)
            except ValidationError as error:
                raise NotFound(self.invalid_cursor_message) from error
        return super().paginate_queryset(queryset, request, view)

    def get_page_size(self, request: Request) -> int | None:
        """Return the requested size; raises Invalid for what is no number of rows, instead of passing over it."""
        size = request.query_params.get("page_size")
        if size is not None and not (size.isascii() and size.isdigit() and 0 < int(size[:9]) <= self.max_page_size):
            message = _("Must be from 1 to %(most)s.") % {"most": self.max_page_size}
            raise Invalid({"page_size": [("invalid", message)]})
        return super().get_page_size(request)

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        """Add the limits of `page_size`."""
        parameters: list[dict[str, Any]] = super().get_schema_operation_parameters(view)
        for parameter in parameters:
            if parameter["name"] == "page_size":
                parameter["schema"] |= {"minimum": 1, "maximum": self.max_page_size}
        return parameters

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Describe a page in the words of OpenAPI 3.1, which has no `nullable`."""
        page: dict[str, Any] = super().get_paginated_response_schema(schema)
        link = {"type": ["string", "null"], "format": "uri"}
        for name, cursor in (("next", "cD00ODY%3D"), ("previous", "cj0xJnA9NDg3")):
            example = f"https://mlops.example.org/api/v1/things/?{self.cursor_query_param}={cursor}"
            page["properties"][name] = {**link, "examples": [example]}
        return page


class InOrder(NewestFirst):
    """In the order they were written."""

    ordering = "pk"
