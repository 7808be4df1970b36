"""A bucket in place of the disk: the whole life runs from it, and one that is away is said to be."""

import gzip
import os
import socket
import subprocess
import sys
import time
from typing import Any

import pytest
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from google.cloud import storage
from google.cloud.storage import retry
from rest_framework.test import APIClient

from core import bucket, http_errors
from core.bucket import Bucket
from core.errors import Unavailable
from predictions import scorer, scoring
from predictions.models import Prediction, ScoringJob
from tests.people import CAST, ELISABETH, OWEN, table
from tests.servers import hang, serving
from titanic_site import bootstrap
from training import registry
from training.models import ModelVersion


@pytest.fixture
def nobody(ship_as_storage: storage.Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket of a moment ago does not answer any more."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(bucket, "RETRY_DEADLINE", 0.3)
    monkeypatch.setattr(retry.DEFAULT_RETRY, "_timeout", retry.DEFAULT_RETRY.timeout)
    bucket.set_deadline()
    default_storage._wrapped = Bucket(bucket_name="ship")  # type: ignore[attr-defined]


def names(ship: storage.Bucket, prefix: str) -> list[str]:
    return [blob.name for blob in ship.client.list_blobs(ship.name, prefix=prefix)]


def move(version: ModelVersion, ship: storage.Bucket) -> None:
    """Bring a version's files along, as an operator does who changes from the disk to a bucket."""
    for name in (version.onnx_file.name, version.pkl_file.name, version.reference_file.name):
        ship.blob(name).upload_from_filename(settings.MEDIA_ROOT / str(name))


def test_an_installation_begins_and_serves_from_it(db: None, ship_as_storage: storage.Bucket) -> None:
    call_command("bootstrap", verbosity=0)

    version = ModelVersion.objects.champion()
    assert version is not None
    files = (version.onnx_file, version.pkl_file, version.reference_file)
    assert set(names(ship_as_storage, "models/")) == {file.name for file in files}
    scorer.reset()
    assert scorer.champion().version == version.version


def test_a_file_is_scored_from_it(champion: ModelVersion, ship_as_storage: storage.Bucket, api: APIClient) -> None:
    move(champion, ship_as_storage)
    file = SimpleUploadedFile("people.csv", b"\xef\xbb\xbf" + table(*CAST).encode(), "text/csv")

    queued = api.post("/api/v1/scoring-jobs/", {"file": file}, format="multipart")
    job = ScoringJob.objects.get(pk=queued.json()["id"])
    scoring.score(job)

    results = api.get(f"/api/v1/scoring-jobs/{job.pk}/results.csv")
    assert b"".join(results.streaming_content).count(b"\n") == len(CAST) + 1  # type: ignore[attr-defined]
    assert Prediction.objects.filter(scoring_job_id=job.pk).count() == len(CAST)
    # The text in the encoding that the parts are read in has taken the upload's place.
    assert names(ship_as_storage, "scoring/") == [job.upload.name, job.parts.get().results.name]


def test_what_nobody_needs_any_more_is_removed(champion: ModelVersion, ship_as_storage: storage.Bucket) -> None:
    move(champion, ship_as_storage)
    job = ScoringJob.objects.create(upload=SimpleUploadedFile("table.csv", table(OWEN).encode()), name="table.csv")
    ship_as_storage.blob(f"scoring/results/{job.pk}/0_of_one_that_was_killed.csv").upload_from_string("half")

    scoring.score(job)

    assert names(ship_as_storage, f"scoring/results/{job.pk}/") == [job.parts.get().results.name]


def test_a_table_is_loaded_from_it(load: Any, ship_as_storage: storage.Bucket) -> None:
    assert load(table(OWEN, ELISABETH)).row_count == 2


def test_a_model_is_downloaded_from_it(champion: ModelVersion, ship_as_storage: storage.Bucket, client: Client) -> None:
    move(champion, ship_as_storage)

    response = client.get(f"/models/{champion.version}/artifact/?format=onnx")

    content = b"".join(response.streaming_content)  # type: ignore[attr-defined]
    assert response["Content-Length"] == str(len(content))
    assert content == ship_as_storage.blob(champion.onnx_file.name).download_as_bytes()


def test_a_file_that_was_not_brought_along_is_missed_in_words(
    champion: ModelVersion, ship_as_storage: storage.Bucket, api: APIClient, client: Client
) -> None:
    answer = api.post("/api/v1/predictions/", {"pclass": 1, "sex": "female"}, format="json")

    assert answer.status_code == 503
    assert "its file cannot be read: No such file or directory." in answer.json()["errors"][0]["detail"]
    assert client.get(f"/models/{champion.version}/artifact/?format=pkl").status_code == 404


def test_what_is_larger_than_memory_likes_waits_on_disk(ship_as_storage: storage.Bucket, settings: Any) -> None:
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 1_000
    large = Bucket(bucket_name=ship_as_storage.name)
    name = large.save("large", ContentFile(b"x" * 5_000))

    with large.open(name) as file:
        assert file.file._rolled
        assert file.read() == b"x" * 5_000


def test_the_same_name_at_the_same_time_is_two_objects(
    ship_as_storage: storage.Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each asks for its name before the other one's object is there.
    monkeypatch.setattr(Bucket, "exists", lambda _bucket, _name: False)
    first, second = (default_storage.save("uploads/a.csv", ContentFile(text)) for text in (b"first", b"second"))

    assert ship_as_storage.blob(first).download_as_bytes() == b"first"
    assert ship_as_storage.blob(second).download_as_bytes() == b"second"


@pytest.mark.parametrize("content", [gzip.compress(b"text", mtime=0), b"text"])
def test_a_packed_file_is_kept_and_read_as_it_is(ship_as_storage: storage.Bucket, content: bytes) -> None:
    name = default_storage.save("uploads/a.csv.gz", ContentFile(content))

    with default_storage.open(name) as file:
        assert file.read() == content
    assert default_storage.size(name) == len(content)


@pytest.mark.ignore_template_errors
def test_the_admin_shows_what_lies_in_it(
    champion: ModelVersion, ship_as_storage: storage.Bucket, admin_client: Client
) -> None:
    job = ScoringJob.objects.create(upload=SimpleUploadedFile("table.csv", table(OWEN).encode()), name="table.csv")

    for page in (f"predictions/scoringjob/{job.pk}", f"training/modelversion/{champion.pk}"):
        assert admin_client.get(f"/admin/{page}/change/").status_code == 200


def test_lost_results_are_missed(champion: ModelVersion, ship_as_storage: storage.Bucket, api: APIClient) -> None:
    move(champion, ship_as_storage)
    job = ScoringJob.objects.create(upload=SimpleUploadedFile("table.csv", table(OWEN).encode()), name="table.csv")
    scoring.score(job)
    ship_as_storage.blob(job.parts.get().results.name).delete()

    assert api.get(f"/api/v1/scoring-jobs/{job.pk}/results.csv").status_code == 404


@pytest.mark.usefixtures("nobody")
class TestAway:
    """Nobody answers where the bucket is."""

    def test_an_upload_is_refused_and_leaves_no_job(self, champion: ModelVersion, api: APIClient) -> None:
        file = SimpleUploadedFile("people.csv", table(OWEN).encode(), "text/csv")

        answer = api.post("/api/v1/scoring-jobs/", {"file": file}, format="multipart")

        assert answer.status_code == 503
        assert answer.json()["errors"][0] == {
            "code": "unavailable",
            "detail": "gs://ship cannot be reached: no server answers there. Check the network and try again.",
            "attr": None,
        }
        assert not ScoringJob.objects.exists()

    def test_the_pages_say_so(self, champion: ModelVersion, client: Client) -> None:
        file = SimpleUploadedFile("people.csv", table(OWEN).encode(), "text/csv")

        for answer in (
            client.post("/scoring/start/", {"file": file}),
            client.get(f"/models/{champion.version}/artifact/?format=onnx"),
        ):
            assert answer.status_code == 503
            assert "gs://ship cannot be reached: no server answers there." in answer.content.decode()

    def test_nobody_takes_that_for_a_verdict_on_the_model(self, champion: ModelVersion, api: APIClient) -> None:
        with pytest.raises(Unavailable, match="gs://ship cannot be reached"):
            registry.load(champion)
        assert api.post(f"/api/v1/models/{champion.version}/promote/").status_code == 503

    def test_it_is_said_before_the_start(self, db: None, settings: Any) -> None:
        settings.ARTIFACT_BUCKET = "ship"

        with pytest.raises(Unavailable, match="gs://ship cannot be reached"):
            bootstrap.bootstrap(echo=print)


def test_one_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_errors, "TIMEOUT", (0.2, 0.2))
    monkeypatch.setattr(retry.DEFAULT_RETRY, "_timeout", 0.3)
    with serving() as server:
        server.answers = [hang]
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.address)
        with pytest.raises(Unavailable, match="gs://ship cannot be reached: it does not answer in time"):
            Bucket(bucket_name="ship").open("a")


def test_the_champion_of_a_moment_ago_goes_on(
    champion: ModelVersion,
    api: APIClient,
    ship_as_storage: storage.Bucket,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    move(champion, ship_as_storage)
    scorer.champion()
    request.getfixturevalue("nobody")
    # Another takes charge, whose file nobody can fetch.
    ModelVersion.objects.update(version=champion.version + 1)
    time.sleep(scorer.RECHECK_SECONDS)

    answer = api.post("/api/v1/predictions/", {"pclass": 1, "sex": "female"}, format="json")

    assert (answer.status_code, answer.json()["model_version"]) == (201, champion.version)
    assert "model 2 cannot be loaded: gs://ship cannot be reached" in caplog.text


def test_a_bucket_that_is_not_there_is_named(ship: storage.Bucket) -> None:
    nowhere = Bucket(bucket_name="nowhere")

    for ask in (nowhere.check, lambda: nowhere.save("a", ContentFile(b"a"))):
        with pytest.raises(Unavailable) as raised:
            ask()
        assert str(raised.value.message) == "There is no bucket gs://nowhere. Make it, or correct ARTIFACT_BUCKET."


def test_web_processes_give_up_a_bucket_while_somebody_waits() -> None:
    code = (
        "import titanic_site.wsgi; from google.cloud.storage.retry import DEFAULT_RETRY; print(DEFAULT_RETRY.timeout)"
    )
    environment = {**os.environ, "ARTIFACT_BUCKET": "ship"}

    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)

    assert float(told.stdout) == bucket.RETRY_DEADLINE
