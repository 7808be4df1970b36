"""A whole installation in one archive, and an installation out of one.

The archive is a tar file: the database as pg_dump writes it, the artifacts, the key and the settings, and a manifest
with the sha256 of each. What lies in Redis is not in it: predictions that wait there are stored first, and all else is
made again from the database.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import IO

import msgspec
from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db import connection
from django.db.backends.postgresql.client import DatabaseClient
from django.db.migrations.loader import MigrationLoader
from django.utils.translation import gettext as _

from core.errors import Conflict, TitanicError, Unavailable
from predictions import log
from titanic_site import env
from titanic_site.runtime.postgres import postgres_program

_MANIFEST, _DATABASE, _ENVIRONMENT = "manifest.json", "database.dump", "settings/restored.env"
#: Of the home.
_FILES = ("secret_key", "credentials.json")
#: Of the storage of artifacts.
_FOLDERS = ("models", "uploads", "scoring")
_PATIENCE_SECONDS = 60


class Manifest(msgspec.Struct):
    """What an archive says of itself: when it was made, after which migrations, and each file's sha256 by its name."""

    made_at: datetime
    migrations: list[tuple[str, str]]
    sha256: dict[str, str]


def make(target: Path) -> Manifest:
    """Write an archive of this installation, which may go on working; raises TitanicError.

    It holds what was acknowledged before the call. The file is whole or not there, and readable by its owner alone.
    """
    _store_waiting_predictions()
    manifest = Manifest(datetime.now(UTC), sorted(MigrationLoader(connection).applied_migrations), {})
    try:
        with NamedTemporaryFile(dir=target.parent, prefix=".backup-") as draft:
            with tarfile.open(fileobj=draft, mode="w") as archive:
                for name, file in _contents(target.parent):
                    manifest.sha256[name] = _add(archive, name, file)
                _add(archive, _MANIFEST, BytesIO(msgspec.json.encode(manifest)))
            draft.flush()
            os.fsync(draft.fileno())
            os.link(draft.name, target)
    except FileExistsError as error:
        raise Conflict(_("%(file)s exists: name another file.") % {"file": target}) from error
    except OSError as error:
        raise TitanicError(_("Cannot write %(file)s: %(reason)s") % {"file": target, "reason": error}) from error
    return manifest


def restore(source: Path) -> Manifest:
    """Make this empty installation the one in the archive, and migrate it to this version; raises TitanicError.

    Nothing is written before the archive has proved whole; the database comes last, in one transaction, so that a
    restore that was cut off can be repeated.
    """
    if connection.introspection.table_names():
        raise Conflict(_("The database is not empty: restore into a new TITANIC_HOME or a new database."))
    try:
        with tarfile.open(source) as archive:
            manifest = _verify(archive)
            for name in manifest.sha256:
                folder, _separator, rest = name.partition("/")
                if folder == "artifacts":
                    default_storage.delete(rest)
                    # `save` gives it another name in a bucket.
                    default_storage._save(rest, File(_open(archive, name)))  # type: ignore[attr-defined]
                elif folder == "settings":
                    _write_private(settings.HOME / rest, _open(archive, name).read())
            with NamedTemporaryFile(dir=settings.HOME) as dump:
                shutil.copyfileobj(_open(archive, _DATABASE), dump)
                dump.flush()
                _run("pg_restore", "--no-owner", "--no-privileges", "--single-transaction", dump.name)
    except (tarfile.TarError, OSError) as error:
        raise TitanicError(_("%(file)s cannot be read: %(reason)s") % {"file": source, "reason": error}) from error
    call_command("migrate", verbosity=0)
    return manifest


def _store_waiting_predictions() -> None:
    began = time.monotonic()
    while log.longest_wait() > (passed := time.monotonic() - began):
        if passed > _PATIENCE_SECONDS:
            raise Unavailable(_("Predictions wait in Redis and cannot be stored: see /monitoring/."))
        log.drain()


def _contents(directory: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield each file of an archive by its name in it; the directory has room for the database."""
    with NamedTemporaryFile(dir=directory, prefix=".backup-") as dump:
        _run("pg_dump", "--format=custom", "--lock-wait-timeout=60s", f"--file={dump.name}")
        yield _DATABASE, dump
    # After the database: the file that a row names was there before the row.
    for name in (name for folder in _FOLDERS for name in _stored(folder)):
        try:
            file = default_storage.open(name)
        except FileNotFoundError:
            # It was deleted meanwhile, with its row.
            continue
        with file:
            yield f"artifacts/{name}", file
    for path in (settings.HOME / name for name in _FILES):
        if path.exists():
            yield f"settings/{path.name}", BytesIO(path.read_bytes())
    # In quotes as `.env` and systemd read them, without the place of this installation.
    given = {name: re.sub(r"([\\'])", r"\\\1", value) for name, value in sorted(env.given.items())}
    environment = "".join(f"{name}='{value}'\n" for name, value in given.items() if name != "TITANIC_HOME")
    yield _ENVIRONMENT, BytesIO(environment.encode())


def _stored(folder: str) -> Iterator[str]:
    try:
        folders, names = default_storage.listdir(folder)
    except FileNotFoundError:
        return
    yield from (f"{folder}/{name}" for name in names)
    for inner in folders:
        yield from _stored(f"{folder}/{inner}")


def _add(archive: tarfile.TarFile, name: str, file: IO[bytes]) -> str:
    """Add a file to the archive and return its sha256."""
    member = tarfile.TarInfo(name)
    member.size = file.seek(0, os.SEEK_END) or file.tell()
    file.seek(0)
    digest = _sha256(file)
    file.seek(0)
    archive.addfile(member, file)
    return digest


def _open(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """Open a file of the archive; raises ReadError where it has none of this name."""
    try:
        file = archive.extractfile(name)
    except KeyError:
        file = None
    if file is None:
        raise tarfile.ReadError(name)
    return file


def _verify(archive: tarfile.TarFile) -> Manifest:
    """Return the manifest, once it names the database and every file is one of ours with the sha256 that it names."""
    try:
        manifest = msgspec.json.decode(_open(archive, _MANIFEST).read(), type=Manifest)
    except (tarfile.ReadError, msgspec.DecodeError) as error:
        raise TitanicError(_("This is no archive of manage.py backup, or it was cut off.")) from error
    for name, digest in {_DATABASE: "", **manifest.sha256}.items():
        is_same = _is_ours(name) and _sha256(_open(archive, name)) == digest
        if not is_same:
            raise TitanicError(_("The archive is damaged: %(name)s is not what was backed up.") % {"name": name})
    newer = set(manifest.migrations) - set(MigrationLoader(None).disk_migrations)
    if newer:
        raise TitanicError(_("A newer version made this archive: restore it with that version."))
    return manifest


def _sha256(file: IO[bytes]) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _is_ours(name: str) -> bool:
    parts = PurePosixPath(name).parts
    if parts[:2] in {("artifacts", folder) for folder in _FOLDERS}:
        return parts[2:] != () and ".." not in parts
    return name in {_DATABASE, _ENVIRONMENT, *(f"settings/{file}" for file in _FILES)}


def _write_private(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(data)


def _run(program: str, *arguments: str) -> None:
    """Run a program of PostgreSQL on the database; raises TitanicError with what it says."""
    (_psql, *options, database), environment = DatabaseClient.settings_to_cmd_args_env(connection.settings_dict, [])
    command = [str(postgres_program(program)), "--no-password", *options, f"--dbname={database}", *arguments]
    done = subprocess.run(  # noqa: S603 - no shell, and a program of this installation
        command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = {"program": program, "reason": done.stderr.strip()}
        raise TitanicError(_("%(program)s failed: %(reason)s") % reason)
