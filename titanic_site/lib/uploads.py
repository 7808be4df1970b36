"""Which doors take a file, and what the API's say of it."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.urls import Resolver404, resolve
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser

View = TypeVar("View", bound=Callable[..., Any])


def for_files(view: View) -> View:
    """Mark a page to which a file is sent: to no other is more than a form's fields."""
    vars(view)["takes_file"] = True
    return view


def takes_file(path: str) -> bool:
    """Whether a file is sent to this address: to a page that says so, or to a door of the API that reads forms."""
    try:
        view: Any = resolve(path).func
    except Resolver404:
        return False
    parsers = view.cls.parser_classes if hasattr(view, "cls") else ()
    return MultiPartParser in parsers or hasattr(view, "takes_file")


@extend_schema_field({"type": "string", "format": "binary", "minLength": 1})
class UploadField(serializers.FileField):
    """A file with something in it."""


@extend_schema_field({"type": "boolean"})
class FlagField(serializers.BooleanField):
    """True or false as a form writes them; 1, "yes" and nothing are refused."""

    # Left out it is the default, and not what a browser's empty checkbox means.
    default_empty_html = serializers.empty

    def to_internal_value(self, data: Any) -> bool:
        # Clients write it as their language does.
        said = str(data).lower()
        if said not in ("true", "false"):
            self.fail("invalid", input=data)
        return said == "true"


class UploadSerializer(serializers.Serializer[None]):
    """A multipart body with one file."""

    file = UploadField(help_text="A CSV file in UTF-8, headings in the first line; gzip is welcome.")
