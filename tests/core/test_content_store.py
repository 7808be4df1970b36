"""Content-addressed files: under a name stands what the name says, whole, or nothing."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.test import override_settings

from core import content_store

DATA = b"a model" * 50_000
NAME = f"models/{hashlib.sha256(DATA).hexdigest()}.onnx"
BUCKET = {**settings.STORAGES, "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"}}


@pytest.fixture(params=["file system", "bucket"], autouse=True)
def _storage(request: pytest.FixtureRequest, tmp_path: Path) -> object:
    """Each test on the disk, and on a storage that has no files and overwrites nothing."""
    storages = settings.STORAGES if request.param == "file system" else BUCKET
    with override_settings(STORAGES=storages, MEDIA_ROOT=tmp_path):
        yield


def stored() -> bytes:
    with default_storage.open(NAME) as file:
        return bytes(file.read())


def names() -> list[str]:
    return sorted(default_storage.listdir("models")[1])


def test_it_works() -> None:
    assert content_store.store(DATA, suffix=".onnx") == NAME

    assert stored() == DATA
    assert names() == [Path(NAME).name]


def test_the_same_bytes_are_stored_once() -> None:
    content_store.store(DATA, suffix=".onnx")
    before = default_storage.get_modified_time(NAME)
    time.sleep(0.02)

    content_store.store(DATA, suffix=".onnx")

    assert default_storage.get_modified_time(NAME) == before
    assert names() == [Path(NAME).name]


@pytest.mark.parametrize(
    "damage", [lambda data: bytes([data[0] ^ 1]) + data[1:], lambda data: data[:-1], lambda _: b""]
)
def test_a_damaged_file_is_replaced(damage: object) -> None:
    content_store.store(DATA, suffix=".onnx")
    with default_storage.open(NAME, "wb") as file:
        file.write(damage(DATA))

    assert content_store.store(DATA, suffix=".onnx") == NAME

    assert stored() == DATA
    assert names() == [Path(NAME).name]


def test_no_bytes_are_bytes_too() -> None:
    name = content_store.store(b"", suffix=".pkl")

    assert default_storage.size(name) == 0


def test_many_at_once_leave_whole_files() -> None:
    with ThreadPoolExecutor(8) as threads:
        found = {
            done.result() for done in [threads.submit(content_store.store, DATA, suffix=".onnx") for _ in range(24)]
        }

    assert NAME in found
    for name in found:
        with default_storage.open(name) as file:
            assert file.read() == DATA


class TestOnDisk:
    """What only a disk can do wrong."""

    @pytest.fixture(autouse=True)
    def _storage(self, tmp_path: Path) -> object:
        with override_settings(MEDIA_ROOT=tmp_path):
            yield

    def test_a_reader_never_sees_half_a_file_while_it_is_replaced(self) -> None:
        content_store.store(DATA, suffix=".onnx")
        path, seen, is_over = Path(default_storage.path(NAME)), set(), threading.Event()

        def read() -> None:
            while not is_over.is_set():
                seen.add(len(path.read_bytes()))

        reader = threading.Thread(target=read)
        reader.start()
        for _ in range(50):
            with path.open("r+b") as file:
                # Damaged, and as long as before.
                file.write(b"A")
            content_store.store(DATA, suffix=".onnx")
        is_over.set()
        reader.join()

        assert seen == {len(DATA)}

    @pytest.mark.parametrize("pause", [0.0, 0.01, 0.03, 0.1])
    def test_a_killed_writer_leaves_nothing_under_the_name(self, tmp_path: Path, pause: float) -> None:
        code = (
            "import django, hashlib; django.setup();"
            "from django.test import override_settings; from core import content_store;"
            "data = b'x' * 200_000_000;"
            f"override_settings(MEDIA_ROOT={str(tmp_path)!r}).enable(); content_store.store(data, suffix='.onnx')"
        )
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "titanic_site.settings"}
        writer = subprocess.Popen([sys.executable, "-c", code], cwd=settings.BASE_DIR, env=environment)
        end = time.monotonic() + 60
        while not list(tmp_path.glob("models/*")):
            assert time.monotonic() < end
            time.sleep(0.001)
        time.sleep(pause)
        writer.send_signal(signal.SIGKILL)
        writer.wait()

        for path in tmp_path.glob("models/*.onnx"):
            assert path.stat().st_size == 200_000_000
        assert len(list(tmp_path.glob("models/*"))) == 1
