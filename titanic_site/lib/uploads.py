"""What an API door that takes a file says of it."""

from rest_framework import serializers


class UploadSerializer(serializers.Serializer[None]):
    """A multipart body with one file."""

    file = serializers.FileField(help_text="A CSV file in UTF-8, headings in the first line.")
