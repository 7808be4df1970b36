"""What all tests share: a clean Redis, a loaded sample, a champion, a client with a token."""

import fcntl
import pickle
import socket
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import settings
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connections
from django.template import Engine
from django.test import TransactionTestCase
from django.utils import translation
from gcp_storage_emulator.server import create_server
from google.cloud import storage
from playwright.sync_api import Page, sync_playwright
from rest_framework.test import APIClient

from core import redis, tokens
from core.jobs import lease
from ingestion import services as ingestion_services
from ingestion.models import Dataset
from ingestion.transports import local
from predictions import drift_state, scorer
from predictions.log import stream
from tests import small_trainings
from tests.programs import CHROMIUM
from tests.snapshot import Snapshot
from tests.users import make_user
from titanic_site.models import AccessToken
from training.models import ModelVersion

# Building the table of characters is slow the first time, and a shared machine at any time.
hypothesis.settings.register_profile(
    "ours", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], max_examples=60
)
hypothesis.settings.load_profile("ours")

SAMPLE = Path(settings.BASE_DIR) / "ingestion" / "sample" / "sample.csv"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests of whole products: they wait the longest, and short ones fill the cores beside them."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/life/"))


@pytest.fixture(scope="session", autouse=True)
def _static_files_on_request() -> None:
    """Let WhiteNoise look for a static file when it is asked for one: each test's client makes it read all: 25 ms."""
    settings.WHITENOISE_AUTOREFRESH = True


@pytest.fixture(autouse=True)
def _clean_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees another's keys, tokens, champion or language, or remembers its outages."""
    stream.breaker.reset()
    cache.clear()
    # A lease's thread has a connection of its own, which sees no job that is not committed: tests of leases shorten it.
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 3600)
    redis.client().flushall()
    tokens.clear_cache()
    scorer.reset()
    drift_state.reset()
    translation.deactivate()


@pytest.fixture(autouse=True)
def _ignore_template_errors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a test ignores undefined variables, spare it the walk through the stack for the template of each: 50 ms."""
    if request.node.get_closest_marker("ignore_template_errors"):
        monkeypatch.setattr(Engine.get_default(), "string_if_invalid", "")


@pytest.fixture(autouse=True)
def _small_trainings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings cost a second or two; those of `real_training` are the product's."""
    if "real_training" not in request.fixturenames:
        small_trainings.install(monkeypatch)


@pytest.fixture
def real_training() -> None:
    """Trainings in a process of their own, with the product's forests and searches."""


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Snapshot:
    """A database, and how its migrations leave it: every test that commits leaves it so too."""
    with django_db_blocker.unblock():
        migrated = Snapshot.take()
    # Django's way truncates every table and makes content types and permissions anew, with other numbers.
    TransactionTestCase._fixture_teardown = lambda _: migrated.put_back()  # type: ignore[attr-defined]
    return migrated


@pytest.fixture(scope="session")
def _trained(
    django_db_setup: Snapshot, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory, testrun_uid: str
) -> Snapshot:
    """The first start, gone through once in a run: one of xdist's workers trains, the others take what it leaves."""
    # Beside the workers' folders, where all of them look.
    path = tmp_path_factory.getbasetemp().parent / f"trained-{testrun_uid}"
    with django_db_blocker.unblock(), path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            trained: Snapshot = pickle.loads(path.read_bytes())
            trained.write_files()
            trained.add(to=django_db_setup)
            trained.advance_sequences()
        else:
            with pytest.MonkeyPatch.context() as patch:
                small_trainings.install(patch)
                call_command("bootstrap", stdout=StringIO())
            trained = Snapshot.take()
            path.write_bytes(pickle.dumps(trained))
        django_db_setup.put_back()
    return trained


@pytest.fixture
def champion(_trained: Snapshot, django_db_setup: Snapshot, db: None) -> ModelVersion:
    """A system that has been through its first start: sample loaded, features built, champion serving."""
    _trained.add(to=django_db_setup)
    found = ModelVersion.objects.champion()
    assert found is not None
    return found


@pytest.fixture
def load(db: None) -> Callable[..., Dataset]:
    """Ingest a table given as text or bytes, and return the dataset whatever became of it."""

    def _load(text: str | bytes, **fields: Any) -> Dataset:
        data = text.encode() if isinstance(text, str) else text
        dataset = ingestion_services.queue_upload(file=SimpleUploadedFile("table.csv", data), by=None)
        Dataset.objects.filter(pk=dataset.pk).update(**fields)
        dataset.refresh_from_db()
        ingestion_services.ingest(dataset)
        return dataset

    return _load


@pytest.fixture
def api(django_user_model: Any, db: None) -> APIClient:
    """A client with a token."""
    user = make_user("caller")
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Token {AccessToken.objects.create(user)[1]}")
    return client


@pytest.fixture
def page(live_server: Any) -> Iterator[Page]:
    """A page of a browser, as on a telephone, on a running server."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page(base_url=live_server.url, viewport={"width": 390, "height": 800})
        browser.close()
        # Playwright's loop makes Django open a second connection, in the way when the database is dropped.
        connections.close_all()


@pytest.fixture
def login_required(settings: Any) -> None:
    settings.LOGIN_REQUIRED = True


@pytest.fixture(scope="session")
def sample() -> str:
    """The sample file's text."""
    return SAMPLE.read_text(encoding="utf-8")


@pytest.fixture
def inbox() -> Path:
    """The folder that pages, the API and sources may read from."""
    local.inbox().mkdir(parents=True, exist_ok=True)
    return local.inbox()


@pytest.fixture
def sample_path() -> Path:
    """Where the sample lies."""
    return SAMPLE


@pytest.fixture(scope="session")
def _emulator() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with create_server("127.0.0.1", port, in_memory=True, default_bucket="ship"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def ship(_emulator: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[storage.Bucket]:
    """A bucket in the emulator, as Google's own client sees it."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", _emulator)
    client = storage.Client(project="test")
    found = client.bucket("ship")
    yield found
    for blob in client.list_blobs("ship"):
        blob.delete()
    client.close()


@pytest.fixture
def ship_as_storage(ship: storage.Bucket, settings: Any) -> storage.Bucket:
    """The same as the place where the installation keeps its files."""
    kept = {"BACKEND": "core.bucket.Bucket", "OPTIONS": {"bucket_name": ship.name}}
    settings.STORAGES = {**settings.STORAGES, "default": kept}
    return ship
