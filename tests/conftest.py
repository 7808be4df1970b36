"""What all tests share: a clean Redis, a loaded sample, a champion, a client with a token."""

import socket
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.utils import translation
from gcp_storage_emulator.server import create_server
from google.cloud import storage
from rest_framework.test import APIClient

from ingestion import services as ingestion_services
from ingestion.models import Dataset
from predictions import log, scorer
from tests.snapshot import Snapshot
from titanic_site.lib import access, redis
from titanic_site.models import AccessToken
from training.models import ModelVersion

# Building the table of characters is slow the first time, and a shared machine at any time.
hypothesis.settings.register_profile(
    "ours", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], max_examples=60
)
hypothesis.settings.load_profile("ours")

SAMPLE = Path(settings.BASE_DIR) / "ingestion" / "sample" / "titanic.csv"


@pytest.fixture(autouse=True)
def _clean_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees another's keys, tokens, champion or language, or remembers its outages."""
    monkeypatch.setattr(log, "_level", log._Level())
    redis.client().flushall()
    access.forget()
    scorer.forget()
    translation.deactivate()


@pytest.fixture
def load(transactional_db: None) -> Callable[..., Dataset]:
    """Ingest a table given as text or bytes, and return the dataset whatever became of it."""

    def _load(text: str | bytes, **fields: Any) -> Dataset:
        data = text.encode() if isinstance(text, str) else text
        dataset = ingestion_services.queue_upload(file=SimpleUploadedFile("table.csv", data))
        Dataset.objects.filter(pk=dataset.pk).update(**fields)
        dataset.refresh_from_db()
        ingestion_services.ingest(dataset)
        return dataset

    return _load


@pytest.fixture(scope="session")
def _trained(django_db_setup: None, django_db_blocker: Any) -> Snapshot:
    """The first start, gone through once; many tests begin from what it leaves."""
    with django_db_blocker.unblock():
        call_command("bootstrap", stdout=StringIO())
        snapshot = Snapshot.take()
        call_command("flush", interactive=False, verbosity=0)
    return snapshot


@pytest.fixture
def champion(_trained: Snapshot, transactional_db: None) -> ModelVersion:
    """A system that has been through its first start: sample loaded, features built, champion in charge."""
    _trained.restore()
    found = ModelVersion.objects.champion()
    assert found is not None
    return found


@pytest.fixture
def api(request: pytest.FixtureRequest, django_user_model: Any, transactional_db: None) -> APIClient:
    """A client with a token."""
    # The champion's snapshot replaces the users: it comes first.
    if "champion" in request.fixturenames:
        request.getfixturevalue("champion")
    user = django_user_model.objects.create_user("caller")
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Token {AccessToken.objects.create(user)[1]}")
    return client


@pytest.fixture
def login_required(settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "titanic_site.middleware.LoginMiddleware"]
    settings.LOGIN_REQUIRED = True


@pytest.fixture(scope="session")
def sample() -> str:
    """The sample file's text."""
    return SAMPLE.read_text(encoding="utf-8")


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
    kept = {"BACKEND": "titanic_site.lib.bucket.Bucket", "OPTIONS": {"bucket_name": ship.name}}
    settings.STORAGES = {**settings.STORAGES, "default": kept}
    return ship
