"""Archives that are refused; what a whole one gives is in tests/life/test_life.py."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from titanic_site import backup

pytestmark = pytest.mark.django_db


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "backup.tar"
    backup.make(path)
    return path


@pytest.fixture
def restore(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], str]:
    """Restore into a database that looks empty; return what is said instead."""
    monkeypatch.setattr(connection.introspection, "table_names", list)

    def _restore(path: Path) -> str:
        with pytest.raises(CommandError) as refused:
            call_command("restore", path)
        return str(refused.value)

    return _restore


def changed(archive: Path, **files: bytes) -> Path:
    """Write an archive anew with other files; those whose sha256 stands in its manifest keep it."""
    path = archive.with_name("changed.tar")
    with tarfile.open(archive) as old, tarfile.open(path, "w") as new:
        for member in old:
            data = files.get(member.name) or old.extractfile(member).read()
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    return path


def manifest(archive: Path) -> backup.Manifest:
    with tarfile.open(archive) as old:
        return msgspec.json.decode(old.extractfile("manifest.json").read(), type=backup.Manifest)


def test_it_is_private_and_another_is_not_overwritten(archive: Path) -> None:
    before = archive.read_bytes()

    with pytest.raises(CommandError, match="exists"):
        call_command("backup", archive)

    assert archive.stat().st_mode & 0o777 == 0o600
    assert archive.read_bytes() == before
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]


def test_it_says_where_it_cannot_write() -> None:
    with pytest.raises(CommandError, match="/nowhere"):
        call_command("backup", "/nowhere/backup.tar")


def test_it_is_not_restored_over_an_installation(archive: Path) -> None:
    with pytest.raises(CommandError, match="not empty"):
        call_command("restore", archive)


def test_what_is_damaged_cut_off_or_something_else_is_refused(
    archive: Path, restore: Callable[[Path], str], tmp_path: Path
) -> None:
    (cut := tmp_path / "cut.tar").write_bytes(archive.read_bytes()[:-15_000])
    (other := tmp_path / "other.tar").write_text("pclass,sex\n")
    with tarfile.open(empty := tmp_path / "empty.tar", "w"):
        pass

    assert "database.dump is not what" in restore(changed(archive, **{"database.dump": b"PGDMP"}))
    assert "cut off" in restore(changed(archive, **{"manifest.json": b"{}"}))
    for path in (cut, other, empty, tmp_path, tmp_path / "none.tar"):
        assert restore(path)


@pytest.mark.parametrize(
    "name",
    [
        "artifacts/../../../etc/cron.d/x",
        "artifacts/elsewhere/x",
        "artifacts",
        "artifacts/models",
        "settings/x",
        "x",
        "",
    ],
)
def test_a_file_that_it_has_no_place_for_is_refused(archive: Path, restore: Callable[[Path], str], name: str) -> None:
    with_name = manifest(archive)
    with_name.sha256 = {name: with_name.sha256["database.dump"]}

    assert "damaged" in restore(changed(archive, **{"manifest.json": msgspec.json.encode(with_name)}))


@pytest.mark.parametrize("named", [{}, {"database.dump": ""}, {"settings/credentials.json": ""}])
def test_what_a_manifest_leaves_out_or_has_no_digest_of_is_refused(
    archive: Path, restore: Callable[[Path], str], named: dict[str, str]
) -> None:
    emptied = manifest(archive)
    emptied.sha256 = named

    assert restore(changed(archive, **{"manifest.json": msgspec.json.encode(emptied)}))


def test_an_archive_of_a_newer_version_is_refused(archive: Path, restore: Callable[[Path], str]) -> None:
    newer = manifest(archive)
    newer.migrations.append(("core", "9999_tomorrow"))

    assert "newer version" in restore(changed(archive, **{"manifest.json": msgspec.json.encode(newer)}))
