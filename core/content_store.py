"""Content-addressed files in Django's storage."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, default_storage

#: The folder of content-addressed files; nothing else may be stored in it.
FOLDER = "models/"


def sha256_of(data: bytes) -> str:
    """Return the digest that names the bytes: 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def store(data: bytes, *, suffix: str) -> str:
    """Store bytes under their sha256 and return the name; equal bytes are stored once, a damaged file is replaced."""
    digest = sha256_of(data)
    name = f"{FOLDER}{digest}{suffix}"
    with suppress(FileNotFoundError), default_storage.open(name) as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == digest:
            return name
    if not isinstance(default_storage, FileSystemStorage):
        # A bucket shows an object when it is whole; some storages do not overwrite, but choose another name.
        default_storage.delete(name)
        return default_storage.save(name, ContentFile(data))
    path = Path(default_storage.path(name))
    draft = Path(default_storage.path(default_storage.save(f"{name}.draft", ContentFile(data))))
    # Synced before it gets its name: a file under a name is whole, after a power cut too.
    _flush(draft)
    draft.replace(path)
    _flush(path.parent)
    return name


def _flush(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
