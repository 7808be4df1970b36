"""Clients as they are: a BOM, NaN, packed bodies, Bearer, a missing slash, names nearly right."""

import gzip
import json
import zlib
from typing import Any

import httpx
import pandas
import pytest
import requests
from django.test import Client
from pytest_django.live_server_helper import LiveServer
from rest_framework.test import APIClient

from predictions import log
from predictions.models import ScoringJob
from tests.people import CAST, ELISABETH, NOBODY, OWEN
from training.models import ModelVersion

URL = "/api/v1/predictions/"
V2 = "/v2/models/titanic/infer"


def _send(api: APIClient, body: bytes, url: str = URL, **headers: str) -> Any:
    return api.generic("POST", url, body, "application/json", headers=headers)


def _errors(response: Any) -> dict[str, str]:
    assert response.status_code == 400, response.content
    return {error["attr"]: error["detail"] for error in response.json()["errors"]}


def test_a_byte_order_mark_is_passed_over(api: APIClient, champion: ModelVersion) -> None:
    marked = b"\xef\xbb\xbf" + json.dumps(ELISABETH).encode()

    assert _send(api, marked).json()["probability"] == _send(api, marked[3:]).json()["probability"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ('{"pclass": 1, "sex": "male", "age": NaN}', "age"),
        ('{"pclass": 1, "sex": "male", "fare": -Infinity}', "fare"),
        ('{"pclass": 1, "sex": "male", "fare": 1e999}', "fare"),
        ('{"pclass": 1, "sex": "male", "fare": ' + "9" * 5_000 + "}", "fare"),
        ('{"instances": [{"pclass": 1}, {"age": Infinity}]}', "instances.1.age"),
        ("NaN", "non_field_errors"),
        ('{"": NaN}', "non_field_errors"),
    ],
)
def test_a_number_without_a_value_is_named(body: str, named: str, api: APIClient, champion: ModelVersion) -> None:
    for url in (URL, f"{URL}batch/"):
        errors = _errors(_send(api, body.encode(), url))

        assert "finite" in errors[named]
    assert log.backlog() == 0


def test_a_number_is_taken_for_text(api: APIClient, champion: ModelVersion) -> None:
    answer = api.post(URL, {**NOBODY, "ticket": 113781, "reference": 17}, format="json")
    log.drain()

    assert answer.status_code == 201, answer.content
    row = api.get(f"{URL}{answer.json()['id']}/").json()
    assert (row["passenger"]["ticket"], row["reference"]) == ("113781", "17")
    assert _errors(api.post(URL, {**NOBODY, "ticket": True}, format="json")) == {"ticket": "Must be text."}
    outcomes = api.post("/api/v1/outcomes/", [{"reference": 17, "survived": True}], format="json")
    assert outcomes.json()["recorded"] == 1


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("Pclass", "pclass"), ("ag", "age"), ("fares", "fare"), ("Referense", "reference"), ("cabim", "cabin")],
)
def test_a_name_that_is_nearly_right_names_the_right_one(
    wrong: str, meant: str, api: APIClient, champion: ModelVersion
) -> None:
    one = _errors(api.post(URL, {**NOBODY, wrong: 1}, format="json"))
    many = _errors(api.post(f"{URL}batch/", {"instances": [{**NOBODY, wrong: 1}]}, format="json"))

    assert one[wrong] == many[f"instances.0.{wrong}"] == f"There is no such field. Did you mean “{meant}”?"


def test_the_other_bodies_name_it_too(api: APIClient, champion: ModelVersion) -> None:
    far = _errors(api.post(URL, {**NOBODY, "colour": 1}, format="json"))
    batch = _errors(api.post(f"{URL}batch/", {"Instances": [], "instances": []}, format="json"))
    training = _errors(api.post("/api/v1/training-runs/", {"seeds": 1}, format="json"))
    dataset = _errors(api.post("/api/v1/datasets/", {"URI": "x.csv"}, format="json"))

    assert far == {"colour": "There is no such field."}
    assert "“instances”" in batch["Instances"]
    assert "“seed”" in training["seeds"]
    assert "“uri”" in dataset["URI"]


def test_bearer_works_like_token(api: APIClient, champion: ModelVersion) -> None:
    token = vars(api)["_credentials"]["HTTP_AUTHORIZATION"].removeprefix("Token ")

    for prefix in ("Bearer", "bearer", "BEARER"):
        for address in ("/api/v1/models/", V2):
            response = APIClient().get(address, headers={"Authorization": f"{prefix} {token}"})
            assert response.status_code == {V2: 405}.get(address, 200)
    assert APIClient().get("/api/v1/models/", headers={"Authorization": f"Bearer {token} x"}).status_code == 401


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_packed_body_is_unpacked(pack: Any, api: APIClient, champion: ModelVersion) -> None:
    encoding = {"Content-Encoding": "gzip" if pack is gzip.compress else "deflate"}
    tensors = {"inputs": [{"name": "pclass", "shape": [1], "datatype": "INT64", "data": [3]},
                          {"name": "sex", "shape": [1], "datatype": "BYTES", "data": ["male"]}]}  # fmt: skip
    plain = api.post(URL, OWEN, format="json").json()["probability"]

    one = _send(api, pack(json.dumps(OWEN).encode()), **encoding)
    many = _send(api, pack(json.dumps({"instances": CAST}).encode()), f"{URL}batch/", **encoding)
    table = api.generic(
        "POST", "/api/v1/outcomes/", pack(f"prediction_id,survived\n{one.json()['id']},1\n".encode()), "text/csv",
        headers=encoding,
    )  # fmt: skip

    assert (one.status_code, one.json()["probability"]) == (201, plain)
    assert len(many.json()["predictions"]) == len(CAST)
    assert table.json()["recorded"] == 1
    assert _send(api, pack(json.dumps(tensors).encode()), V2, **encoding).status_code == 200


def test_a_hostile_packed_body_is_refused(api: APIClient, champion: ModelVersion) -> None:
    row, gzipped = json.dumps(OWEN).encode(), {"Content-Encoding": "gzip"}
    bomb = gzip.compress(b" " * 200 * 1024**2)
    for url in (URL, V2):
        assert _send(api, bomb, url, **gzipped).status_code == 413
        for broken in (row, gzip.compress(row)[:-9], gzip.compress(row) * 2, b"", b"\x1f\x8b"):
            assert _send(api, broken, url, **gzipped).status_code == 400, broken
        for encoding in ("br", "gzip, gzip", "\x00"):
            assert _send(api, gzip.compress(row), url, **{"Content-Encoding": encoding}).status_code == 415
    assert _send(api, row, **{"Content-Encoding": "identity"}).status_code == 201
    assert log.drain() == 1


def test_a_packed_form_is_refused_with_a_sentence(api: APIClient, client: Client, champion: ModelVersion) -> None:
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\npclass,sex\n1,male\n\r\n--x--\r\n'
    )
    packed = {"headers": {"Content-Encoding": "gzip"}}

    upload = api.generic(
        "POST", "/api/v1/scoring-jobs/", gzip.compress(form), "multipart/form-data; boundary=x", **packed
    )
    page = client.generic("POST", "/predict", gzip.compress(b"pclass=1"), "application/x-www-form-urlencoded", **packed)

    assert [upload.status_code, page.status_code] == [415, 415]
    assert "gzip" in upload.json()["errors"][0]["detail"]
    assert not ScoringJob.objects.exists()


@pytest.mark.ignore_template_errors
def test_clients_without_the_slash_predict(live_server: LiveServer, api: APIClient, champion: ModelVersion) -> None:
    url, token = f"{live_server.url}{URL.rstrip('/')}", vars(api)["_credentials"]["HTTP_AUTHORIZATION"]
    headers = {"Authorization": token.replace("Token", "Bearer")}
    expected = api.post(URL, ELISABETH, format="json").json()["probability"]

    sent: list[Any] = [
        requests.post(url, json=ELISABETH, headers=headers, timeout=10),
        httpx.post(url, json=ELISABETH, headers=headers, follow_redirects=True),
        httpx.post(url, json=ELISABETH, headers=headers),
    ]

    assert [(answer.status_code, answer.json()["probability"]) for answer in sent] == [(201, expected)] * 3


def test_a_frame_of_pandas_is_predicted(api: APIClient, champion: ModelVersion) -> None:
    # What is unknown makes whole numbers of a column fractions, and is null in JSON.
    people = pandas.DataFrame([*CAST, {**OWEN, "ticket": 113781, "sibsp": None}])
    expected = api.post(f"{URL}batch/", {"instances": [*CAST, {**OWEN, "sibsp": 0}]}, format="json").json()

    for frame in (people, people.convert_dtypes()):
        body = f'{{"instances": {frame.to_json(orient="records")}}}'
        answer = _send(api, body.encode(), f"{URL}batch/").json()
        assert [row["probability"] for row in answer["predictions"]] == [
            row["probability"] for row in expected["predictions"]
        ]
