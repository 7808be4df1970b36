"""Hostile bodies at every address of the API that takes one: refused with a reason, nothing done, no traceback."""

import json
import logging
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from predictions import log
from predictions.models import ScoringJob
from training.models import ModelVersion, TrainingRun

JSON_PATHS = ("predictions/", "predictions/batch/", "training-runs/", "feature-batches/", "datasets/",
              "models/1/promote/", "models/rollback/", "models/1/challenge/")  # fmt: skip
BODIES: dict[str, bytes] = {
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "NaN": b'{"age": NaN}',
    "infinity": b'{"fare": Infinity}',
    "too large a number": b'{"fare": 1e400}',
    "an endless integer": b'{"fare": ' + b"9" * 5_000 + b"}",
    "bad UTF-8": b'{"name": "\xff"}',
    "a lone surrogate": b'{"name": "\\ud800"}',
    "a byte order mark, twice": b"\xef\xbb\xbf\xef\xbb\xbf{}",
    "a NUL": b'{"name": "\x00"}',
    "half of it": b'{"pclass": 1, "sex": "ma',
    "two of it": b"{}{}",
    "no JSON": b"pclass=1",
}


def _send(api: APIClient, path: str, body: bytes, content_type: str = "application/json") -> Any:
    return api.generic("POST", f"/api/v1/{path}", body, content_type)


@pytest.mark.parametrize("path", JSON_PATHS)
@pytest.mark.parametrize("case", BODIES)
def test_a_hostile_body_is_refused(
    case: str, path: str, api: APIClient, champion: ModelVersion, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    refused = _send(api, path, BODIES[case])

    assert refused.status_code == 400, refused.content
    assert refused.json()["errors"][0]["detail"]
    assert not [record for record in caplog.records if record.exc_info]
    assert log.backlog() == 0
    assert TrainingRun.objects.filter(state="queued").count() == 0


def test_of_many_wrong_fields_the_first_are_named_in_short(api: APIClient, champion: ModelVersion) -> None:
    many = json.dumps({"pclass": 1, "sex": "male", **{f"{number}{'x' * 1_000}": 1 for number in range(3_000)}}).encode()
    long = json.dumps({"pclass": 1, "sex": "male", "x" * 1_000_000: 1}).encode()

    for body in (many, long):
        refused = _send(api, "predictions/", body)
        assert refused.status_code == 400
        assert len(refused.json()["errors"]) <= 1_001
        assert len(refused.content) < 300_000


def test_of_many_wrong_passengers_the_first_are_told_and_the_others_counted(
    api: APIClient, champion: ModelVersion
) -> None:
    body = json.dumps({"instances": [{"pclass": 4, "sex": "x"}] * 10_000}).encode()

    refused = _send(api, "predictions/batch/", body)

    *named, rest = refused.json()["errors"]
    assert refused.status_code == 400
    assert [error["attr"] for error in named] == [
        f"instances.{index}.{field}" for index in range(500) for field in ("pclass", "sex")
    ]
    assert rest == {"code": "more_errors", "detail": "19000 more are not listed.", "attr": None}


def test_a_body_without_a_length_is_refused_in_the_shape_of_its_api(client: Client) -> None:
    for path in ("/api/v1/predictions/", "/v2/models/titanic/infer", "/predict"):
        refused = client.generic("POST", path, headers={"Transfer-Encoding": "chunked"})
        assert refused.status_code == 411
        assert "Content-Length" in refused.content.decode()


@pytest.mark.parametrize("path", JSON_PATHS)
def test_too_large_a_body_and_another_type_are_refused(path: str, api: APIClient, champion: ModelVersion) -> None:
    assert _send(api, path, b" " * (11 * 1024**2)).status_code == 413
    assert _send(api, path, b"<xml/>", "application/xml").status_code == 415


FILE_PATHS = ("scoring-jobs/", "datasets/")


@pytest.mark.parametrize("path", FILE_PATHS)
@pytest.mark.parametrize(
    "body",
    [b"", b"--x", b"--x\r\n\r\n", b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc\r\n--x--',
     b'--x\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\nabc\r\n--x--',
     b'--x\r\nContent-Disposition: form-data; name="other"; filename="a.csv"\r\n\r\nabc\r\n--x--',
     b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n\r\n--x--'],
)  # fmt: skip
def test_a_hostile_form_is_refused(
    path: str, body: bytes, api: APIClient, champion: ModelVersion, caplog: pytest.LogCaptureFixture
) -> None:
    refused = _send(api, path, body, "multipart/form-data; boundary=x")

    assert refused.status_code == 400, refused.content
    assert not [record for record in caplog.records if record.exc_info]
    assert not ScoringJob.objects.exists()


@pytest.mark.parametrize("path", FILE_PATHS)
def test_a_form_with_a_field_twice_is_refused(path: str, api: APIClient) -> None:
    file = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\npclass,sex\n1,male\n\r\n'

    (error,) = _send(api, path, file * 2 + b"--x--\r\n", "multipart/form-data; boundary=x").json()["errors"]

    assert (error["code"], error["attr"]) == ("doubled_field", "file")


@pytest.mark.parametrize("path", FILE_PATHS)
@pytest.mark.parametrize(
    ("part", "times", "status"),
    [
        (b'name="f"\r\n\r\nx', 1_100, 400),
        (b'name="file"; filename="a.csv"\r\n\r\nx', 300, 400),
        (b'name="explain"\r\n\r\n' + b"x" * 12 * 1024**2, 1, 413),
    ],
)
def test_a_form_of_too_much_is_refused(part: bytes, times: int, status: int, path: str, api: APIClient) -> None:
    body = (b"--x\r\nContent-Disposition: form-data; " + part + b"\r\n") * times + b"--x--\r\n"

    refused = _send(api, path, body, "multipart/form-data; boundary=x")

    assert refused.status_code == status
    assert refused.json()["errors"][0]["code"] == {400: "too_many_fields", 413: "too_large"}[status]


@pytest.mark.parametrize("path", ["schema/", "predictions/", "scoring-jobs/", "runs/", "datasets/"])
def test_a_query_of_too_much_is_refused(path: str, api: APIClient) -> None:
    query = "&".join(f"a{number}=1" for number in range(1_100))

    refused = api.get(f"/api/v1/{path}?{query}")

    assert refused.status_code == 400
    # The schema's own view writes YAML.
    assert "too_many_fields" in refused.content.decode()


@pytest.mark.parametrize("path", ["/api/v1/predictions/", "/v2/health/live", "/"])
def test_a_foreign_host_is_refused_in_the_shape_of_its_api(path: str) -> None:
    refused = Client().get(path, headers={"Host": "evil.example"})

    assert refused.status_code == 400
    if path == "/":
        assert "This request cannot be understood" in refused.content.decode()
    else:
        body = refused.json()
        assert "cannot be understood" in (body["error"] if path.startswith("/v2/") else body["errors"][0]["detail"])


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a\x00b.csv", "x" * 500 + ".csv", "\u202egnp.csv", "con\nnul.csv"]
)
def test_a_hostile_file_name_stays_a_name(name: str, api: APIClient, champion: ModelVersion) -> None:
    quoted = name.replace("\n", "%0A").encode()
    body = (b'--x\r\nContent-Disposition: form-data; name="file"; filename="' + quoted
            + b'"\r\n\r\npclass,sex\n1,male\n\r\n--x--\r\n')  # fmt: skip

    answered = _send(api, "scoring-jobs/", body, "multipart/form-data; boundary=x")

    assert answered.status_code in (202, 400), answered.content
    for job in ScoringJob.objects.all():
        assert "/" not in job.name
        assert ".." not in str(job.upload.name)


def test_a_bare_list_of_a_batch_is_told_where_it_belongs(api: APIClient, champion: ModelVersion) -> None:
    refused = _send(api, "predictions/batch/", b'[{"pclass": 1, "sex": "male"}]')

    assert refused.status_code == 400
    assert '{"instances": [...]}' in refused.json()["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("content_type", "sentence"),
    [
        ("", "The body has no Content-Type. Send application/json."),
        ("text/xml", "The Content-Type “text/xml” is not read here. Send application/json."),
    ],
)
def test_a_body_of_another_type_is_told_what_to_send(
    api: APIClient, champion: ModelVersion, content_type: str, sentence: str
) -> None:
    refused = _send(api, "predictions/", b'{"pclass": 1, "sex": "male"}', content_type)

    assert refused.status_code == 415
    assert [error["detail"] for error in refused.json()["errors"]] == [sentence]
