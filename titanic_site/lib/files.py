"""Content-addressed files in Django's storage."""

import hashlib

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage


def sha256_of(data: bytes) -> str:
    """The name of bytes: 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def keep(data: bytes, *, suffix: str) -> str:
    """Store bytes under their sha256 and return the name; the same bytes are stored once."""
    name = f"models/{sha256_of(data)}{suffix}"
    if default_storage.exists(name) and default_storage.size(name) == len(data):
        return name
    default_storage.delete(name)
    return default_storage.save(name, ContentFile(data))
