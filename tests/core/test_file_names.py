"""What clients call their files is shown, and reaches neither disk nor log as it is."""

import re
from typing import Any

import pytest
from django.apps import apps
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db.models import FileField
from django.test import Client

from core.file_names import MAX_LABEL_LENGTH, GeneratedName, label
from ingestion import services as ingestion
from ingestion.models import Dataset
from predictions import services as predictions
from predictions.models import ScoringJob
from tests.users import make_user
from titanic_site.models import AccessToken

HOSTILE = (
    "", ".", "..", "../../x", "..\\..\\x", "C:\\x", "/etc/passwd", "%2e%2e%2fx", "-rf", "$(x)", "a;b", 'a"b', "   ",
    "x" * 300, "泰" * 88, "x." + "泰" * 88, "¡¡¡.¡¡¡", "🚢" * 60,
    "a\0b", "a\nb", "a\r\nContent-Type: x", "a\u202evsc.exe", "\x1b[31mred",
)  # fmt: skip


@pytest.fixture
def client(django_user_model: Any, db: None) -> Client:
    caller = make_user("caller")
    client = Client(headers={"Authorization": f"Token {AccessToken.objects.create(caller)[1]}"})
    client.force_login(caller)
    return client


def _send(client: Client, address: str, name: str) -> Any:
    """Post a file under the name as it is, which no honest client would write so."""
    head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: text/csv\r\n\r\n'
    body = head.encode() + b"id,survived\r\n\r\n--x--\r\n"
    return client.post(address, data=body, content_type="multipart/form-data; boundary=x")


# Django keeps small files in memory, and writes larger ones to its temporary folder.
@pytest.mark.parametrize("most", [0, 10_000])
def test_a_hostile_name_is_a_label(client: Client, settings: Any, most: int) -> None:
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = most

    statuses = {name: _send(client, "/api/v1/datasets/", name).status_code for name in HOSTILE}

    assert {name for name, status in statuses.items() if status != 202} == {"", ".", ".."}
    assert set(statuses.values()) == {202, 400}
    for dataset in Dataset.objects.all():
        assert re.fullmatch(r"uploads/\d{4}/\d{2}/[0-9a-f]{32}", dataset.upload.name)
        assert dataset.name
        assert label(dataset.name) == dataset.name == dataset.uri


@pytest.mark.parametrize(
    "address", ["/api/v1/scoring-jobs/", "/predictions/outcomes/", "/scoring/start/", "/datasets/ingest/"]
)
def test_a_long_suffix_is_no_part_of_a_temporary_file_at_any_door(client: Client, settings: Any, address: str) -> None:
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 0

    assert _send(client, address, "x." + "泰" * 88).status_code < 500


@pytest.mark.django_db
def test_whatever_keeps_a_file_labels_it_alike() -> None:
    def file() -> SimpleUploadedFile:
        return SimpleUploadedFile("\x1b[31m" + "泰" * 250 + "\n\u202e.csv", b"x")

    rows: list[Any] = [ingestion.queue_upload(file=file(), by=None), predictions.queue_scoring(file=file(), by=None)]

    assert [row.name for row in rows] == [label(file().name)] * 2
    assert len(rows[0].name) == MAX_LABEL_LENGTH
    assert [type(row) for row in rows] == [Dataset, ScoringJob]


def test_whatever_keeps_a_file_gives_it_a_name_of_ours() -> None:
    fields = [
        field for model in apps.get_models() for field in model._meta.get_fields() if isinstance(field, FileField)
    ]
    named = {f"{field.model.__name__}.{field.name}": isinstance(field.upload_to, GeneratedName) for field in fields}

    # The others are never saved under a name that is not ours already.
    ours = {f"ModelVersion.{name}_file" for name in ("onnx", "pkl", "reference")} | {"ScoringPart.results"}
    assert {name for name, is_own in named.items() if not is_own} == ours


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("gs://ship/a\u202evsc.exe", "a vsc.exe"),
        ("gs://ship/\x1b[31mred", "[31mred"),
        (f"https://ship.example/{'泰' * 250}.csv", f"{'泰' * 196}.csv"),
        ("https://ship.example/%0d%0aX: y", "%0d%0aX: y"),
    ],
)
@pytest.mark.django_db
def test_the_name_at_an_address_is_a_label_too(uri: str, name: str) -> None:
    assert ingestion.queue_ingest(uri=uri).name == name
