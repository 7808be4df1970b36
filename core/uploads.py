"""Files in the API's bodies."""

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers


@extend_schema_field({"type": "string", "format": "binary", "minLength": 1})
class UploadField(serializers.FileField):
    """A file that is not empty."""


@extend_schema_field({"type": "boolean"})
class FlagField(serializers.BooleanField):
    """True or false as a form writes them; 1, "yes" and nothing are rejected."""

    # Left out it is the default, not False as for a browser's empty checkbox.
    default_empty_html = serializers.empty

    def to_internal_value(self, data: object) -> bool:
        # Clients write it as their language does: True, true.
        text = str(data).lower()
        if text not in ("true", "false"):
            self.fail("invalid", input=data)
        return text == "true"


class UploadSerializer(serializers.Serializer[None]):
    """A multipart body with one file."""

    file = UploadField(help_text="A table: CSV, Excel, Parquet, JSON lines or JSON; gzip and zip are welcome.")
