"""Uploaded files are limited by count and bytes, of a user and in all; one that is refused or not needed is deleted."""

import gzip
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from django.conf import settings as configured
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections
from django.test import Client
from rest_framework.test import APIClient

from core.errors import Conflict, TitanicError, TooLarge
from core.jobs import State
from core.models import Action, AuditEntry
from ingestion import retention, services
from ingestion.models import Dataset
from predictions import scoring
from predictions import services as predictions
from predictions.models import Prediction, ScoringJob
from tests.people import OWEN, table
from tests.users import make_user
from titanic_site import retention as kept
from titanic_site import storage
from titanic_site.models import AccessToken
from training.models import ModelVersion

TABLE = table(OWEN).encode()
SIZE = len(TABLE)
Commit = Callable[..., Any]


def file(data: bytes = TABLE) -> SimpleUploadedFile:
    return SimpleUploadedFile("table.csv", data)


def stored() -> set[Path]:
    """The files in the folders of uploads."""
    root = Path(configured.MEDIA_ROOT)
    return {path for folder in ("uploads", "scoring") for path in (root / folder).rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def before(db: None) -> set[Path]:
    return stored()


@pytest.fixture
def owner(db: None) -> User:
    return make_user("owner")


def test_datasets_and_scored_files_count_together(owner: User, settings: Any, before: set[Path]) -> None:
    settings.UPLOADS_PER_USER, settings.SCORING_KEPT_DAYS = 2, 7
    services.queue_upload(file=file(), by=owner)
    predictions.queue_scoring(file=file(), by=owner)

    for queue in (services.queue_upload, predictions.queue_scoring):
        with pytest.raises(Conflict, match=r"^2 of your uploaded files .* most 2 .* Archive .* after 7 days\.$"):
            queue(file=file(), by=owner)

    assert len(stored() - before) == 2
    services.queue_upload(file=file(), by=make_user("other"))
    services.queue_upload(file=file(), by=None)


@pytest.mark.parametrize(("setting", "user"), [("UPLOAD_BYTES_PER_USER", "owner"), ("UPLOAD_BYTES_IN_ALL", "other")])
def test_bytes_are_limited(owner: User, settings: Any, before: set[Path], setting: str, user: str) -> None:
    setattr(settings, setting, 2 * SIZE)
    services.queue_upload(file=file(), by=owner)
    by = owner if user == "owner" else make_user(user)

    with pytest.raises(TooLarge, match="Archive datasets"):
        predictions.queue_scoring(file=file(TABLE + b"x"), by=by)
    predictions.queue_scoring(file=file(), by=by)

    assert len(stored() - before) == 2


def test_every_channel_says_so(owner: User, settings: Any, before: set[Path], tmp_path: Path) -> None:
    settings.UPLOADS_PER_USER = 1
    for by in (owner, None):
        services.queue_upload(file=file(), by=by)
    page, api = Client(), APIClient()
    page.force_login(owner)
    api.credentials(HTTP_AUTHORIZATION=f"Token {AccessToken.objects.create(owner)[1]}")
    (tmp_path / "in.csv").write_bytes(TABLE)

    for address in ("/datasets/ingest/", "/scoring/start/"):
        shown = page.post(address, {"file": file()})
        assert (shown.status_code, "1 of your uploaded files" in shown.text) == (409, True)
    for address in ("/api/v1/datasets/", "/api/v1/scoring-jobs/"):
        answer = api.post(address, {"file": file()})
        assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (409, "file")
    settings.UPLOADS_PER_USER, settings.UPLOAD_BYTES_PER_USER = 0, SIZE
    assert api.post("/api/v1/datasets/", {"file": file()}).status_code == 413
    with pytest.raises(CommandError, match="This file has"):
        call_command("score_file", str(tmp_path / "in.csv"), str(tmp_path / "out.csv"))

    assert len(stored() - before) == 2


def test_a_file_whose_row_cannot_be_saved_is_deleted(
    owner: User, settings: Any, before: set[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MOST_OPEN_JOBS = 0
    with pytest.raises(Conflict, match="being scored already"):
        predictions.queue_scoring(file=file(), by=owner)
    with pytest.raises(DatabaseError):
        services.queue_upload(file=file(), by=User(pk=2**40))

    assert stored() == before


def test_a_compressed_file_counts_with_what_it_becomes(champion: ModelVersion, settings: Any) -> None:
    data = table(*[OWEN] * 200).encode()
    packed = gzip.compress(data)
    job = predictions.queue_scoring(file=file(packed), by=None)
    assert job.upload_bytes == len(packed)
    settings.UPLOAD_BYTES_IN_ALL = storage.uploads()[0].byte_count + 1

    with pytest.raises(TooLarge):
        scoring.score(job)
    settings.UPLOAD_BYTES_IN_ALL = 0
    job.rerun()
    scoring.score(job)

    assert ScoringJob.objects.get().upload_bytes == len(data) == job.upload.size


@pytest.mark.usefixtures("login_required")
def test_a_scoring_job_is_deleted_by_its_owner(
    owner: User, champion: ModelVersion, before: set[Path], django_capture_on_commit_callbacks: Commit
) -> None:
    def client(user: User) -> Client:
        client = Client(headers={"Authorization": f"Token {AccessToken.objects.create(user)[1]}"})
        client.force_login(user)
        return client

    owner.groups.set(Group.objects.filter(name="analyst"))
    mine, other = client(owner), client(make_user("other", "analyst"))
    jobs = [predictions.queue_scoring(file=file(), by=owner) for _ in range(2)]
    addresses = [f"/scoring/{jobs[0].pk}/delete/", f"/api/v1/scoring-jobs/{jobs[1].pk}/delete/"]
    assert [mine.post(address).status_code for address in addresses] == [409, 409]
    for job in jobs:
        scoring.score(job)

    assert [other.post(address).status_code for address in addresses] == [404, 404]
    assert addresses[0] in mine.get(jobs[0].get_absolute_url()).text
    with django_capture_on_commit_callbacks(execute=True):
        assert [mine.post(address).status_code for address in addresses] == [302, 204]

    assert not ScoringJob.objects.exists()
    assert stored() == before
    assert Prediction.objects.filter(scoring_job_id__in=[job.pk for job in jobs]).count() == 2
    assert AuditEntry.objects.filter(action=Action.DELETED, object_kind="scoring job", actor="owner").count() == 2


def test_of_two_at_once_the_second_counts_the_first(
    transactional_db: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.UPLOADS_PER_USER = 1
    both_stored, check_quota = Barrier(2, timeout=30), ScoringJob.check_quota

    def check(job: ScoringJob, byte_count: int) -> None:
        check_quota(job, byte_count)
        if not connection.in_atomic_block:
            both_stored.wait()

    def queue(_turn: int) -> bool:
        try:
            predictions.queue_scoring(file=file(), by=None)
        except Conflict:
            return False
        finally:
            connections.close_all()
        return True

    monkeypatch.setattr(ScoringJob, "check_quota", check)
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(queue, range(2))) == [False, True]
    assert ScoringJob.objects.count() == 1


class TestRelease:
    """A file is deleted when the last row that has it lets go."""

    @pytest.fixture
    def dataset(self, load: Callable[..., Dataset]) -> Dataset:
        return load(TABLE)

    def archive(self, dataset: Dataset, commit: Commit) -> None:
        with commit(execute=True):
            retention.archive(dataset)

    def test_archiving_deletes_it(
        self, dataset: Dataset, before: set[Path], django_capture_on_commit_callbacks: Commit
    ) -> None:
        path = Path(dataset.upload.path)
        assert stored() - before == {path}

        self.archive(dataset, django_capture_on_commit_callbacks)

        assert stored() == before
        assert storage.uploads()[0].count == 0
        with pytest.raises(Conflict, match="Upload it again"):
            dataset.rerun()

    def test_a_retry_keeps_it_and_counts_it_once(
        self, dataset: Dataset, django_capture_on_commit_callbacks: Commit
    ) -> None:
        again = dataset.rerun()
        assert (storage.uploads()[0].count, storage.uploads()[0].byte_count) == (1, SIZE)

        self.archive(dataset, django_capture_on_commit_callbacks)
        services.ingest(again)

        assert again.row_count == 1
        path = Path(again.upload.path)
        self.archive(again, django_capture_on_commit_callbacks)
        assert not path.exists()

    def test_one_that_failed_can_be_archived(
        self, load: Callable[..., Dataset], before: set[Path], client: Client,
        django_capture_on_commit_callbacks: Commit,
    ) -> None:  # fmt: skip
        with pytest.raises(TitanicError):
            load("no,such,table\n1,2,3\n")
        failed = Dataset.objects.get(state=State.FAILED)
        assert f"/datasets/{failed.pk}/archive/" in client.get(failed.get_absolute_url()).text

        with django_capture_on_commit_callbacks(execute=True):
            assert client.post(f"/datasets/{failed.pk}/archive/").status_code == 302

        assert stored() == before
        assert client.post(f"/datasets/{failed.pk}/archive/").status_code == 409

    def test_retention_deletes_what_an_archived_row_had_too(
        self, load: Callable[..., Dataset], dataset: Dataset, before: set[Path], settings: Any,
        django_capture_on_commit_callbacks: Commit,
    ) -> None:  # fmt: skip
        again = dataset.rerun()
        again.cancel()
        self.archive(dataset, django_capture_on_commit_callbacks)
        Dataset.objects.filter(pk=again.pk).update(finished_at="2020-01-01T00:00Z")

        with django_capture_on_commit_callbacks(execute=True):
            assert kept.delete_old()["jobs"] == 1

        assert stored() == before


def test_operators_see_what_users_have(owner: User, settings: Any, client: Client) -> None:
    settings.UPLOADS_PER_USER, settings.UPLOAD_BYTES_PER_USER, settings.UPLOAD_BYTES_IN_ALL = 7, 2**30, 0
    for _ in range(2):
        services.queue_upload(file=file(), by=owner)
    predictions.queue_scoring(file=file(), by=owner)

    mine = next(usage for usage in storage.uploads() if usage.name == "owner")

    assert (mine.count, mine.byte_count, mine.kept) == (3, 3 * SIZE, "7 files, 1.0\xa0GB")
    assert ">owner</td>" in client.get("/storage/").text


@pytest.mark.usefixtures("db")
def test_the_files_of_a_deleted_user_are_not_those_of_anonymous_visitors(owner: User, client: Client) -> None:
    theirs = predictions.queue_scoring(file=file(), by=owner)
    ours = predictions.queue_scoring(file=file(), by=None)

    owner.delete()

    assert [client.get(f"/scoring/{job.pk}/").status_code for job in (theirs, ours)] == [404, 200]
