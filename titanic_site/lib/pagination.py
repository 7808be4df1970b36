"""Cursor pages: stable while rows are added, and as quick on page one thousand as on page one."""

from rest_framework.pagination import CursorPagination


class NewestFirst(CursorPagination):
    """Newest first, by primary key; `page_size` up to 1,000."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 1000
    ordering = "-pk"


class InOrder(NewestFirst):
    """As they were written."""

    ordering = "pk"
