"""Content-addressed files in Django's storage."""

import hashlib
import os
from pathlib import Path

from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, default_storage

#: Where content-addressed files lie; nothing else may share a name.
FOLDER = "models/"


def sha256_of(data: bytes) -> str:
    """The name of bytes: 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def store(data: bytes, *, suffix: str) -> str:
    """Store bytes under their sha256 and return the name; the same bytes are stored once, damaged ones replaced."""
    digest = sha256_of(data)
    name = f"{FOLDER}{digest}{suffix}"
    return name if _digest_of(name) == digest else _write(name, data)


def _digest_of(name: str) -> str | None:
    """The sha256 of what is stored, read in pieces; None where nothing is."""
    digest = hashlib.sha256()
    try:
        with default_storage.open(name) as file:
            for piece in file.chunks():
                digest.update(piece)
    except FileNotFoundError:
        return None
    return digest.hexdigest()


def _write(name: str, data: bytes) -> str:
    if not isinstance(default_storage, FileSystemStorage):
        # A bucket shows an object when it is whole; some storages would not overwrite, but choose another name.
        default_storage.delete(name)
        return default_storage.save(name, ContentFile(data))
    path = Path(default_storage.path(name))
    draft = Path(default_storage.path(default_storage.save(f"{name}.draft", ContentFile(data))))
    # On the disk before it has its name: whatever is found under a name is whole, after a power cut too.
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
